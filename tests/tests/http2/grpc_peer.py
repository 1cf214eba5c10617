"""A gRPC server and client on grpcio, for tests/tests/http2/grpcio.rs. Messages are plain bytes.

    grpc_peer.py server NAME               prints its port, and then what happens to it
    grpc_peer.py client PORT SCENARIO...   prints one JSON object per scenario, which is a word or
                                           `word:argument`
"""

import json
import sys
import threading
from concurrent import futures

import grpc

LARGE = 8 << 20
OPTIONS = [
    ("grpc.max_receive_message_length", 2 * LARGE),
    ("grpc.max_send_message_length", 2 * LARGE),
    ("grpc.enable_http_proxy", 0),
]
ANSWER_WITHIN = 20


def say(*words):
    print(*words, flush=True)


class Service(grpc.GenericRpcHandler):
    def __init__(self, name):
        self.name = name
        self.server = None

    def service(self, details):
        kinds = {
            "Unary": grpc.unary_unary_rpc_method_handler(self.unary),
            "Fail": grpc.unary_unary_rpc_method_handler(self.fail),
            "Many": grpc.unary_stream_rpc_method_handler(self.many),
            "Sum": grpc.stream_unary_rpc_method_handler(self.sum),
            "Chat": grpc.stream_stream_rpc_method_handler(self.chat),
            "Hang": grpc.unary_stream_rpc_method_handler(self.hang),
        }
        service, method = details.method.strip("/").split("/")
        return kinds.get(method) if service == "test.Peer" else None

    def unary(self, request, context):
        asked = dict(context.invocation_metadata())
        if "x-text" in asked:
            context.send_initial_metadata([("x-text", asked["x-text"])])
            context.set_trailing_metadata([("x-raw-bin", asked["x-raw-bin"]), ("x-from", self.name)])
        return request

    def fail(self, request, context):
        context.abort(grpc.StatusCode.NOT_FOUND, "100% größer\n")

    def many(self, request, context):
        for number in range(int(request)):
            yield b"%d" % number

    def sum(self, requests, context):
        return b"%d" % sum(int(request) for request in requests)

    def chat(self, requests, context):
        for request in requests:
            if request == b"stop":
                # Says GOAWAY and lets this call go on.
                self.server.stop(ANSWER_WITHIN)
            yield self.name.encode() + b" " + request

    def hang(self, request, context):
        ended = threading.Event()
        context.add_callback(ended.set)
        left = context.time_remaining()
        say("hang", -1 if left is None or left > 1e6 else left)
        context.send_initial_metadata(())
        ended.wait(ANSWER_WITHIN)
        say("ended" if ended.is_set() else "stayed")
        yield b""


def serve(name):
    service = Service(name)
    server = grpc.server(futures.ThreadPoolExecutor(16), handlers=[service], options=OPTIONS)
    service.server = server
    say(server.add_insecure_port("127.0.0.1:0"))
    server.start()
    server.wait_for_termination()


class Client:
    def __init__(self, port):
        self.channel = grpc.insecure_channel(f"127.0.0.1:{port}", options=OPTIONS)

    def unary(self, method="Unary"):
        return self.channel.unary_unary(f"/test.Peer/{method}")

    def kinds(self):
        many = self.channel.unary_stream("/test.Peer/Many")
        total = self.channel.stream_unary("/test.Peer/Sum")
        chat = self.channel.stream_stream("/test.Peer/Chat")
        numbers = [b"%d" % n for n in range(1000)]
        return {
            "unary": self.unary()(b"hello", timeout=ANSWER_WITHIN).decode(),
            "many": [int(n) for n in many(b"1000", timeout=ANSWER_WITHIN)] == list(range(1000)),
            "sum": int(total(iter(numbers), timeout=ANSWER_WITHIN)),
            "chat": len(list(chat(iter(numbers), timeout=ANSWER_WITHIN))),
        }

    def metadata(self):
        sent = [("x-text", "some text"), ("x-raw-bin", bytes(range(256)))]
        call = self.unary().with_call(b"", metadata=sent, timeout=ANSWER_WITHIN)[1]
        trailing = dict(call.trailing_metadata())
        return {
            "text": dict(call.initial_metadata()).get("x-text"),
            "raw": trailing.get("x-raw-bin") == bytes(range(256)),
            "code": call.code().name,
        }

    def large(self):
        sent = bytes(range(256)) * (LARGE // 256)
        return {"same": self.unary()(sent, timeout=ANSWER_WITHIN) == sent}

    def failure(self, method="Fail", timeout=ANSWER_WITHIN):
        try:
            self.unary(method)(b"", timeout=timeout)
        except grpc.RpcError as error:
            return {"code": error.code().name, "details": error.details()}
        return {"code": "OK"}

    def unknown_method(self):
        return self.failure("Nothing")

    def outlasted(self):
        """A stream that has begun, and that the proxy ends."""
        call = self.channel.unary_stream("/test.Peer/Hang")(b"")
        call.initial_metadata()
        try:
            list(call)
        except grpc.RpcError as error:
            return {"code": error.code().name, "details": error.details()}
        return {"code": "OK"}

    def deadline(self):
        call = self.channel.unary_stream("/test.Peer/Hang")(b"", timeout=0.5)
        call.initial_metadata()
        return {"code": call.code().name}

    def cancel(self):
        call = self.channel.unary_stream("/test.Peer/Hang")(b"")
        call.initial_metadata()
        call.cancel()
        return {"code": call.code().name}

    def silent(self, seconds):
        """A stream on which nobody says anything for some time."""

        def said():
            yield b"first"
            threading.Event().wait(float(seconds))
            yield b"last"

        within = float(seconds) + ANSWER_WITHIN
        chat = self.channel.stream_stream("/test.Peer/Chat")(said(), timeout=within)
        heard = [word.decode().split()[1] for word in chat]
        return {"heard": heard, "code": chat.code().name}

    def goaway(self):
        """One server stops while a stream to it is open: the stream goes on, others go elsewhere."""
        words = [threading.Event() for _ in range(2)]

        def said():
            yield b"stop"
            words[0].wait(ANSWER_WITHIN)
            yield b"last"

        chat = self.channel.stream_stream("/test.Peer/Chat")(said(), timeout=ANSWER_WITHIN)
        name, word = next(chat).decode().split()
        others = set()
        for _ in range(50):
            sent = [("x-text", ""), ("x-raw-bin", b"")]
            call = self.unary().with_call(b"", metadata=sent, timeout=ANSWER_WITHIN)[1]
            others.add(dict(call.trailing_metadata())["x-from"])
        words[0].set()
        last = next(chat).decode()
        rest = list(chat)
        return {
            "others": name not in others and len(others) == 1,
            "last": last == name + " last" and word == "stop" and rest == [],
            "code": chat.code().name,
        }


def main():
    _, side, what, *scenarios = sys.argv
    if side == "server":
        serve(what)
        return
    client = Client(what)
    for scenario in scenarios:
        name, *arguments = scenario.split(":")
        say(json.dumps(getattr(client, name)(*arguments)))


main()
