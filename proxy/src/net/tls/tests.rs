//! Streams with each other and with a peer made of rustls' other interface, over real sockets.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    sync::Arc,
};

use rcgen::{CertificateParams, KeyPair};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig,
    pki_types::{PrivateKeyDer, ServerName},
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;
use crate::{
    error::Cause,
    net::{
        stream::Stream,
        testing::{run, tcp_pair, unix_pair},
    },
};

fn configs() -> (Arc<ServerConfig>, Arc<ClientConfig>) {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["a.example".to_owned()]).unwrap();
    let certificate = params.self_signed(&key).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(certificate.der().clone()).unwrap();
    let der = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let mut server = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], der)
        .unwrap();
    server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let client = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    (Arc::new(server), Arc::new(client))
}

fn name() -> ServerName<'static> {
    ServerName::try_from("a.example").unwrap()
}

async fn done(mut handshake: Handshake) -> Result<Stream, crate::error::Failure> {
    std::future::poll_fn(|cx| handshake.poll(cx)).await?;
    Ok(handshake.done())
}

/// Two of our streams, talking to each other: server and client.
async fn pair() -> (Stream, Stream) {
    let (server, client) = configs();
    let (ours, peer) = unix_pair();
    let accept = Handshake::accept(ours, server, &[]).unwrap();
    let alpn = vec![b"http/1.1".to_vec()];
    let connect = Handshake::connect(Stream::Unix(peer), client, name(), alpn).unwrap();
    let (server, client) = tokio::join!(done(accept), done(connect));
    (server.unwrap(), client.unwrap())
}

#[test]
fn both_ends_agree() {
    run(async {
        let (server, client) = configs();
        let (ours, peer) = unix_pair();
        let mut accept = Handshake::accept(ours, server, &[]).unwrap();
        let alpn = vec![b"x".to_vec(), b"h2".to_vec()];
        let mut connect = Handshake::connect(Stream::Unix(peer), client, name(), alpn).unwrap();
        let (a, b) = tokio::join!(
            std::future::poll_fn(|cx| accept.poll(cx)),
            std::future::poll_fn(|cx| connect.poll(cx))
        );
        assert!(a.is_ok() && b.is_ok());
        for facts in [accept.facts(), connect.facts()] {
            assert_eq!((facts.version, facts.alpn), ("TLSv1.3", Alpn::Http2));
            assert_eq!(facts.group, "X25519MLKEM768");
            assert!(facts.cipher.starts_with("TLS_AES_") && !facts.resumed);
        }
        assert_eq!(connect.certificates().len(), 1);
    });
}

#[test]
fn nothing_is_lost_however_slowly_the_receiver_reads() {
    run(async {
        let (mut server, mut client) = pair().await;
        let sent: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
        let expected = sent.clone();
        let write = async {
            server.write_all(&sent).await.unwrap();
            server.shutdown().await.unwrap();
        };
        let read = async {
            let mut all = Vec::new();
            // Less than a record at a time, so that some of each waits in the stream.
            let mut some = [0; 7_001];
            loop {
                let n = client.read(&mut some).await.unwrap();
                if n == 0 {
                    break;
                }
                all.extend_from_slice(&some[..n]);
                tokio::task::yield_now().await;
            }
            all
        };
        let ((), all) = tokio::join!(write, read);
        assert!(all == expected, "{} of {}", all.len(), expected.len());
        // The other way is open still.
        client.write_all(b"answer").await.unwrap();
        let mut answer = [0; 6];
        server.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"answer");
    });
}

#[test]
fn a_write_that_was_begun_is_gone_on_with_or_fails() {
    run(async {
        let (mut server, mut client) = pair().await;
        let bytes = vec![7; 60_000];
        let mut blocked = 0;
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        let mut write = |stream: &mut Stream, bytes: &[u8]| {
            tokio::io::AsyncWrite::poll_write(std::pin::Pin::new(stream), &mut cx, bytes)
        };
        while write(&mut server, &bytes).is_ready() {
            blocked += bytes.len();
        }
        assert!(blocked < 10_000_000);
        let failed = write(&mut server, b"something else");
        assert!(matches!(failed, std::task::Poll::Ready(Err(_))));
        drop(server);
        // What came is no whole message to the peer: there is no end to it.
        let mut all = Vec::new();
        let error = client.read_to_end(&mut all).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
    });
}

#[test]
fn an_end_is_told_from_a_cut() {
    run(async {
        let (mut server, mut client) = pair().await;
        server.write_all(b"whole").await.unwrap();
        // Dropped in order.
        drop(server);
        let mut all = Vec::new();
        client.read_to_end(&mut all).await.unwrap();
        assert_eq!(all, b"whole");

        let (mut server, mut client) = pair().await;
        server.write_all(b"part").await.unwrap();
        server.reset_on_drop();
        drop(server);
        let mut all = Vec::new();
        let error = client.read_to_end(&mut all).await.unwrap_err();
        assert_eq!(
            (&*all, error.kind()),
            (&b"part"[..], ErrorKind::UnexpectedEof)
        );
    });
}

#[test]
fn tickets_do_not_disturb_a_connection_that_waits() {
    run(async {
        let (mut server, mut client) = pair().await;
        // The server sends its tickets when it waits for the first time.
        let mut byte = [0; 1];
        let waiting =
            tokio::time::timeout(std::time::Duration::from_millis(1), server.read(&mut byte));
        assert!(waiting.await.is_err());
        let socket_has_some = std::future::poll_fn(|cx| client.poll_read_ready(cx));
        socket_has_some.await.unwrap();
        assert!(client.is_quiet() && client.is_quiet());
        server.write_all(b"x").await.unwrap();
        std::future::poll_fn(|cx| client.poll_read_ready(cx))
            .await
            .unwrap();
        assert!(!client.is_quiet());
        // What was looked at is there to be read.
        client.read_exact(&mut byte).await.unwrap();
        assert!(&byte == b"x" && client.is_quiet());
        drop(server);
        std::future::poll_fn(|cx| client.poll_read_ready(cx))
            .await
            .unwrap();
        assert!(!client.is_quiet());
    });
}

#[test]
fn records_in_any_pieces_are_one_stream() {
    run(async {
        let (server, client) = configs();
        let (ours, mut peer) = tcp_pair().await;
        let serving = tokio::task::spawn_local(async move {
            let accept = Handshake::accept(ours, server, &[]).unwrap();
            let mut stream = done(accept).await.unwrap();
            let mut all = Vec::new();
            stream.read_to_end(&mut all).await.unwrap();
            stream.write_all(&all).await.unwrap();
            all.len()
        });
        let mut session = ClientConnection::new(client, name()).unwrap();
        let mut came = Vec::new();
        let mut bytes = [0; 4_096];
        let mut sent = false;
        loop {
            while session.wants_write() {
                let mut records = Vec::new();
                session.write_tls(&mut records).unwrap();
                // A byte at a time at first, and pieces that end in the middle of records.
                for piece in records.chunks(if sent { 1_000 } else { 1 }) {
                    peer.write_all(piece).await.unwrap();
                    peer.flush().await.unwrap();
                    tokio::task::yield_now().await;
                }
            }
            if !session.is_handshaking() && !sent {
                sent = true;
                session.writer().write_all(&vec![9; 50_000]).unwrap();
                session.send_close_notify();
                continue;
            }
            let n = peer.read(&mut bytes).await.unwrap();
            if n == 0 {
                break;
            }
            let mut rest = &bytes[..n];
            while !rest.is_empty() {
                session.read_tls(&mut rest).unwrap();
                session.process_new_packets().unwrap();
                let _ = session.reader().read_to_end(&mut came);
            }
        }
        assert_eq!((serving.await.unwrap(), came.len()), (50_000, 50_000));
    });
}

#[test]
fn a_peer_that_is_wrong_is_told_so_and_named() {
    run(async {
        // Somebody else's certificate.
        let (server, _) = configs();
        let (_, stranger) = configs();
        let (ours, peer) = unix_pair();
        let accept = Handshake::accept(ours, server, &[]).unwrap();
        let connect = Handshake::connect(Stream::Unix(peer), stranger, name(), Vec::new()).unwrap();
        let (server, client) = tokio::join!(done(accept), done(connect));
        assert_eq!(client.unwrap_err().cause, Cause::UpstreamCertificateInvalid);
        let failure = server.unwrap_err();
        assert_eq!(failure.cause, Cause::TlsHandshakeFailed);
        assert!(!failure.detail.is_empty());

        // Another name.
        let (server, client) = configs();
        let (ours, peer) = unix_pair();
        let accept = Handshake::accept(ours, server, &[]).unwrap();
        let other = ServerName::try_from("b.example").unwrap();
        let connect = Handshake::connect(Stream::Unix(peer), client, other, Vec::new()).unwrap();
        let (_, client) = tokio::join!(done(accept), done(connect));
        assert_eq!(client.unwrap_err().cause, Cause::UpstreamCertificateName);

        // No TLS at all, and nothing.
        let (server, client) = configs();
        for (bytes, cause) in [
            (
                &b"HTTP/1.1 400 Bad Request\r\n\r\n"[..],
                Cause::UpstreamTlsFailed,
            ),
            (b"", Cause::UpstreamTlsFailed),
        ] {
            let (ours, mut peer) = unix_pair();
            peer.write_all(bytes).await.unwrap();
            peer.shutdown().await.unwrap();
            let connect =
                Handshake::connect(ours, Arc::clone(&client), name(), Vec::new()).unwrap();
            assert_eq!(done(connect).await.unwrap_err().cause, cause);
        }
        let (ours, peer) = unix_pair();
        drop(peer);
        let accept = Handshake::accept(ours, server, &[]).unwrap();
        assert_eq!(done(accept).await.unwrap_err().cause, Cause::ClientGone);
    });
}
