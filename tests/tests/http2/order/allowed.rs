//! What a client may send, in every shape that it may have.

use outrigger_tests::frames::{Frame, code, flag, setting};

use super::{Case, block, data, get, post, prioritised, split};

#[allow(clippy::too_many_lines, reason = "a table")]
pub(super) fn sequences() -> Vec<Case> {
    let unknown = |stream| Frame::new(0xfa, 0xff, stream, *b"whatever");
    let trailer = |stream| block(stream, &[("a-trailer", "t")]);
    let field = |name, value| {
        vec![block(
            1,
            &[
                (":method", "GET"),
                (":scheme", "http"),
                (":authority", "a"),
                (":path", "/"),
                (name, value),
            ],
        )]
    };
    let body = |frames: &[Frame]| [&[post(1, &[])], frames].concat();
    let length = |n, frames: &[Frame]| [&[post(1, &[("content-length", n)])], frames].concat();
    vec![
        ("a request", vec![get(1)], &[1]),
        ("a head in two", split(&get(1), &[10]), &[1]),
        (
            "a head whose first frame is empty",
            split(&get(1), &[0]),
            &[1],
        ),
        (
            "a head whose last frame is empty",
            split(&get(1), &[5, get(1).payload.len() - 5]),
            &[1],
        ),
        ("a head in six", split(&get(1), &[1; 5]), &[1]),
        (
            "a head split within a string",
            split(&get(1), &[3, 1, 1]),
            &[1],
        ),
        ("padding of a head", vec![get(1).padded(7)], &[1]),
        ("padding of nothing", vec![get(1).padded(0)], &[1]),
        ("padding of the longest", vec![get(1).padded(255)], &[1]),
        ("priority in a head", vec![prioritised(&get(1))], &[1]),
        (
            "priority and padding",
            vec![prioritised(&get(1)).padded(3)],
            &[1],
        ),
        ("a body", body(&[data(1, "all").end_stream()]), &[1]),
        (
            "a body in pieces",
            body(&[data(1, "a"), data(1, "b"), data(1, "c").end_stream()]),
            &[1],
        ),
        (
            "a body and an empty end",
            body(&[data(1, "abc"), data(1, "").end_stream()]),
            &[1],
        ),
        (
            "no body, said late",
            body(&[data(1, "").end_stream()]),
            &[1],
        ),
        (
            "empty pieces",
            body(&[
                data(1, ""),
                data(1, "a"),
                data(1, ""),
                data(1, "b").end_stream(),
            ]),
            &[1],
        ),
        (
            "padded pieces",
            body(&[
                data(1, "a").padded(200),
                data(1, "").padded(9),
                data(1, "b").padded(0).end_stream(),
            ]),
            &[1],
        ),
        ("trailers", body(&[data(1, "abc"), trailer(1)]), &[1]),
        ("trailers and no body", body(&[trailer(1)]), &[1]),
        (
            "trailers in pieces",
            [body(&[data(1, "abc")]), split(&trailer(1), &[0, 4])].concat(),
            &[1],
        ),
        (
            "padded trailers",
            body(&[data(1, "abc"), trailer(1).padded(5)]),
            &[1],
        ),
        (
            "a length that is right",
            length("3", &[data(1, "ab"), data(1, "c").end_stream()]),
            &[1],
        ),
        (
            "a length and trailers",
            length("3", &[data(1, "abc"), trailer(1)]),
            &[1],
        ),
        (
            "a length of nothing",
            length("0", &[data(1, "").end_stream()]),
            &[1],
        ),
        (
            "crumbs",
            vec![block(
                1,
                &[
                    (":method", "GET"),
                    (":scheme", "http"),
                    (":authority", "a"),
                    (":path", "/"),
                    ("cookie", "a=1"),
                    ("a-x", "y"),
                    ("cookie", "b=2"),
                ],
            )],
            &[1],
        ),
        (
            "fields twice",
            vec![block(
                1,
                &[
                    (":method", "GET"),
                    (":scheme", "http"),
                    (":authority", "a"),
                    (":path", "/"),
                    ("a-x", "1"),
                    ("a-x", "2"),
                ],
            )],
            &[1],
        ),
        (
            "host instead of authority",
            vec![block(
                1,
                &[
                    (":method", "GET"),
                    (":scheme", "http"),
                    (":path", "/"),
                    ("host", "a"),
                ],
            )],
            &[1],
        ),
        ("te: trailers", field("te", "trailers"), &[1]),
        (
            "PRIORITY of a stream to come",
            vec![Frame::priority(1), Frame::priority(9), get(1)],
            &[1],
        ),
        (
            "PRIORITY within a body",
            body(&[data(1, "a"), Frame::priority(1), data(1, "b").end_stream()]),
            &[1],
        ),
        (
            "PRIORITY of a stream that ended",
            vec![get(1), Frame::priority(1)],
            &[1],
        ),
        (
            "frames of no known type",
            body(&[
                unknown(0),
                data(1, "a"),
                unknown(1),
                data(1, "b").end_stream(),
                unknown(7),
            ]),
            &[1],
        ),
        ("flags of no meaning", vec![get(1).flag(0x50)], &[1]),
        (
            "streams side by side",
            vec![
                post(1, &[]),
                post(3, &[]),
                data(3, "x"),
                data(1, "a"),
                get(5),
                data(3, "y").end_stream(),
                data(1, "b").end_stream(),
            ],
            &[1, 3, 5],
        ),
        (
            "streams inside each other",
            vec![
                post(1, &[]),
                post(3, &[]),
                post(5, &[]),
                trailer(5),
                trailer(3),
                trailer(1),
            ],
            &[1, 3, 5],
        ),
        (
            "streams left out",
            vec![get(3), get(11), get(101)],
            &[3, 11, 101],
        ),
        (
            "PING",
            vec![Frame::ping([1; 8]), get(1), Frame::ping([2; 8])],
            &[1],
        ),
        (
            "a PING that nobody asked for",
            vec![Frame::ping([1; 8]).flag(flag::ACK), get(1)],
            &[1],
        ),
        (
            "SETTINGS in between",
            body(&[
                Frame::settings(&[(setting::INITIAL_WINDOW_SIZE, 1_000)]),
                data(1, "a").end_stream(),
            ]),
            &[1],
        ),
        (
            "a setting that nobody knows",
            vec![Frame::settings(&[(0xfafa, 7)]), get(1)],
            &[1],
        ),
        (
            "windows",
            body(&[
                Frame::window_update(0, 10),
                Frame::window_update(1, 10),
                data(1, "a").end_stream(),
                Frame::window_update(1, 10),
            ]),
            &[1],
        ),
        (
            "a reset in between",
            vec![
                post(1, &[]),
                get(3),
                data(1, "a"),
                Frame::reset(1, code::CANCEL),
                get(5),
            ],
            &[3, 5],
        ),
        (
            "a reset at once",
            vec![post(1, &[]), Frame::reset(1, code::CANCEL), get(3)],
            &[3],
        ),
        (
            "DATA behind our reset",
            vec![
                post(1, &[]),
                Frame::reset(1, code::CANCEL),
                Frame::priority(1),
                get(3),
            ],
            &[3],
        ),
        (
            "GOAWAY of a client that stays for its answer",
            body(&[Frame::goaway(0, code::NO_ERROR), data(1, "a").end_stream()]),
            &[1],
        ),
    ]
}
