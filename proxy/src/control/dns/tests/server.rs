//! A name server for tests: UDP and TCP on one loopback port, with replies by name and type.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use hickory_resolver::proto::{
    op::{Message, ResponseCode},
    rr::{
        Name, RData, Record, RecordType,
        rdata::{CNAME, SRV},
    },
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, UdpSocket},
    task::JoinSet,
};

/// What is answered.
#[derive(Clone, Debug)]
pub(super) enum Reply {
    /// Those of the type that is asked for.
    Records(Vec<Data>),
    /// Nothing but a truncated message over UDP, these over TCP.
    TooLongForUdp(Vec<Data>),
    NoName,
    ServerFailure,
    Silence,
}

/// A record without its name.
#[derive(Clone, Debug)]
pub(super) struct Data {
    data: RData,
    ttl: u32,
}

pub(super) fn a(address: &str, ttl: u32) -> Data {
    let data = RData::A(address.parse::<std::net::Ipv4Addr>().unwrap().into());
    Data { data, ttl }
}

pub(super) fn aaaa(address: &str, ttl: u32) -> Data {
    let data = RData::AAAA(address.parse::<std::net::Ipv6Addr>().unwrap().into());
    Data { data, ttl }
}

pub(super) fn cname(target: &str, ttl: u32) -> Data {
    let data = RData::CNAME(CNAME(name(target)));
    Data { data, ttl }
}

pub(super) fn srv(priority: u16, weight: u16, port: u16, target: &str) -> Data {
    let data = RData::SRV(SRV::new(priority, weight, port, name(target)));
    Data { data, ttl: 60 }
}

fn name(text: &str) -> Name {
    let mut name = Name::from_str_relaxed(text).unwrap();
    name.set_fqdn(true);
    name
}

#[derive(Debug, Default)]
struct Zone {
    by_name: BTreeMap<Name, Reply>,
    by_type: BTreeMap<(Name, String), Reply>,
    /// Packets to ignore.
    to_lose: u32,
    asked: BTreeSet<String>,
}

/// Serves until it is dropped.
pub(super) struct Server {
    pub(super) address: SocketAddr,
    zone: Arc<Mutex<Zone>>,
    _tasks: JoinSet<()>,
}

impl Server {
    pub(super) async fn start() -> Self {
        let (udp, tcp) = loop {
            let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
            // The port may be taken on UDP: then another one.
            if let Ok(udp) = UdpSocket::bind(tcp.local_addr().unwrap()).await {
                break (udp, tcp);
            }
        };
        let zone = Arc::<Mutex<Zone>>::default();
        let mut tasks = JoinSet::new();
        let address = tcp.local_addr().unwrap();
        tasks.spawn(serve_udp(udp, Arc::clone(&zone)));
        tasks.spawn(serve_tcp(tcp, Arc::clone(&zone)));
        Self {
            address,
            zone,
            _tasks: tasks,
        }
    }

    /// From now on, this is the reply to questions of any type for this name.
    pub(super) fn reply(&self, of: &str, reply: Reply) {
        let mut zone = self.zone.lock().unwrap();
        zone.by_type.retain(|(it, _), _| *it != name(of));
        zone.by_name.insert(name(of), reply);
    }

    pub(super) fn answer(&self, of: &str, records: &[Data]) {
        self.reply(of, Reply::Records(records.to_vec()));
    }

    /// From now on, this is the reply to questions of one type for this name.
    pub(super) fn reply_to(&self, of: &str, kind: &str, reply: Reply) {
        let mut zone = self.zone.lock().unwrap();
        zone.by_type.insert((name(of), kind.to_owned()), reply);
    }

    /// Ignores that many packets.
    pub(super) fn lose(&self, packets: u32) {
        self.zone.lock().unwrap().to_lose = packets;
    }

    /// The types asked for so far.
    pub(super) fn kinds_asked(&self) -> BTreeSet<String> {
        self.zone.lock().unwrap().asked.clone()
    }
}

async fn serve_udp(socket: UdpSocket, zone: Arc<Mutex<Zone>>) {
    let mut packet = [0; 1_500];
    while let Ok((len, from)) = socket.recv_from(&mut packet).await {
        let reply = respond(&packet[..len], &zone, true);
        if let Some(reply) = reply {
            let _ = socket.send_to(&reply, from).await;
        }
    }
}

async fn serve_tcp(listener: TcpListener, zone: Arc<Mutex<Zone>>) {
    while let Ok((mut stream, _)) = listener.accept().await {
        while let Ok(len) = stream.read_u16().await {
            let mut question = vec![0; len.into()];
            if stream.read_exact(&mut question).await.is_err() {
                break;
            }
            let Some(reply) = respond(&question, &zone, false) else {
                break;
            };
            let _ = stream.write_u16(reply.len() as u16).await;
            let _ = stream.write_all(&reply).await;
        }
    }
}

fn respond(question: &[u8], zone: &Mutex<Zone>, is_udp: bool) -> Option<Vec<u8>> {
    let question = Message::from_vec(question).unwrap();
    let query = question.queries[0].clone();
    let mut zone = zone.lock().unwrap();
    if zone.to_lose > 0 {
        zone.to_lose -= 1;
        return None;
    }
    let kind = query.query_type();
    zone.asked.insert(kind.to_string());
    let of = query.name().clone();
    let mut reply = zone.by_type.get(&(of.clone(), kind.to_string()));
    reply = reply.or_else(|| zone.by_name.get(&of));

    let mut message = Message::response(question.metadata.id, question.metadata.op_code);
    message.metadata.recursion_desired = true;
    message.metadata.recursion_available = true;
    message.add_query(query);
    match reply {
        None | Some(Reply::NoName) => message.metadata.response_code = ResponseCode::NXDomain,
        Some(Reply::ServerFailure) => message.metadata.response_code = ResponseCode::ServFail,
        Some(Reply::Silence) => return None,
        Some(Reply::TooLongForUdp(_)) if is_udp => message.metadata.truncation = true,
        Some(Reply::Records(records) | Reply::TooLongForUdp(records)) => {
            let wanted = |it: &&Data| [kind, RecordType::CNAME].contains(&it.data.record_type());
            let record = |it: &Data| Record::from_rdata(of.clone(), it.ttl, it.data.clone());
            message.add_answers(records.iter().filter(wanted).map(record));
        }
    }
    Some(message.to_vec().unwrap())
}
