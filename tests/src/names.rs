//! A tiny name server: it answers, changes its mind, and is silent.

use std::{
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

/// Answers A questions with one address and TTL 1; AAAA with nothing; or, while it is silent,
/// nothing at all until it speaks again.
#[derive(Debug)]
pub struct NameServer {
    /// Where it is asked.
    pub address: SocketAddr,
    answer: Arc<Mutex<Option<Ipv4Addr>>>,
    asked: Arc<AtomicUsize>,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl NameServer {
    /// Starts one that says this at first.
    pub fn start(first: Option<Ipv4Addr>) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket
            .set_read_timeout(Some(Duration::from_millis(20)))
            .unwrap();
        let address = socket.local_addr().unwrap();
        let answer = Arc::new(Mutex::new(first));
        let (asked, over) = (Arc::<AtomicUsize>::default(), Arc::<AtomicBool>::default());
        let thread = {
            let (answer, asked, over) = (answer.clone(), asked.clone(), over.clone());
            std::thread::spawn(move || {
                let mut buffer = [0; 512];
                let mut open = Vec::new();
                while !over.load(Ordering::SeqCst) {
                    if let Ok((n, from)) = socket.recv_from(&mut buffer) {
                        open.push((buffer[..n].to_vec(), from));
                        asked.fetch_add(1, Ordering::SeqCst);
                    }
                    let answer = *answer.lock().unwrap_or_else(PoisonError::into_inner);
                    let Some(ip) = answer else { continue };
                    for (question, from) in open.drain(..) {
                        let _ = socket.send_to(&reply(&question, ip), from);
                    }
                }
            })
        };
        Self {
            address,
            answer,
            asked,
            over,
            thread: Some(thread),
        }
    }

    /// From now on it says this.
    pub fn say(&self, ip: Option<Ipv4Addr>) {
        *self.answer.lock().unwrap_or_else(PoisonError::into_inner) = ip;
    }

    /// Questions so far.
    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The question back, with one A record if it asks for one.
fn reply(question: &[u8], ip: Ipv4Addr) -> Vec<u8> {
    let name_end = 12 + question[12..].iter().position(|b| *b == 0).unwrap() + 1;
    let wants_a = question[name_end..name_end + 2] == [0, 1];
    let mut reply = question[..name_end + 4].to_vec();
    reply[2..4].copy_from_slice(&[0x81, 0x80]);
    reply[6..12].copy_from_slice(&[0, u8::from(wants_a), 0, 0, 0, 0]);
    if wants_a {
        reply.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4]);
        reply.extend_from_slice(&ip.octets());
    }
    reply
}
