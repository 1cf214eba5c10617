//! Files in real directories, replaced as careful and as careless writers do it.

use std::{fs, os::unix::fs::symlink};

use super::{
    super::testing::{Ca, Leaf, NOW, SPAN, Scratch, by_the_clock, date, pem},
    *,
};

const WEB: &str = "spiffe://one.example/web";

fn chain(leaf: &Leaf) -> String {
    pem("CERTIFICATE", &leaf.der)
}

/// A pair in two files.
struct Pair {
    scratch: Scratch,
    ca: Ca,
}

impl Pair {
    fn new() -> Self {
        Self {
            scratch: Scratch::new(),
            ca: Ca::new("root"),
        }
    }

    fn leaf(&self) -> Leaf {
        self.ca.leaf_with(WEB, by_the_clock)
    }

    fn put(&self, leaf: &Leaf) {
        self.scratch
            .put("tls.key", &leaf.key.serialize_pem(), 0o600);
        self.scratch.put("tls.crt", &chain(leaf), 0o644);
    }

    fn files(&self) -> Files {
        Files::Own {
            key: self.scratch.at("tls.key"),
            chain: self.scratch.at("tls.crt"),
        }
    }

    fn source(&self) -> FilesSource {
        let (source, update) = FilesSource::load(self.files(), UnixTime::now()).unwrap();
        assert!(update.own.is_some() && update.trust.is_none());
        source
    }
}

async fn next(source: &mut FilesSource) -> Result<Update, String> {
    timeout(Duration::from_mins(1), source.next())
        .await
        .expect("an answer in time")
}

#[track_caller]
fn is(update: &Update, leaf: &Leaf) {
    let own = update.own.as_ref().unwrap();
    assert_eq!(own.certified.cert, std::slice::from_ref(&leaf.der));
    own.certified.keys_match().unwrap();
}

#[tokio::test]
async fn a_pair_is_handed_out_together_or_not_at_all() {
    let pair = Pair::new();
    let (old, new) = (pair.leaf(), pair.leaf());
    pair.put(&old);
    let mut source = pair.source();
    // The chain comes first, and then the key.
    pair.scratch.put("tls.crt", &chain(&new), 0o644);
    let half = source.read().await;
    assert!(
        half.as_ref()
            .is_err_and(|why| why.contains("does not belong"))
    );
    assert!(source.judge(half).is_none(), "it is not told at once");
    pair.scratch.put("tls.key", &new.key.serialize_pem(), 0o600);
    is(&next(&mut source).await.unwrap(), &new);
    // What is equal is no change.
    pair.put(&new);
    let same = source.read().await;
    is(same.as_ref().unwrap(), &new);
    assert!(source.judge(same).is_none());
}

#[tokio::test]
async fn what_stays_wrong_is_told_once_and_its_end_too() {
    let pair = Pair::new();
    let leaf = pair.leaf();
    pair.put(&leaf);
    let mut source = pair.source();
    pair.scratch.put("tls.crt", "nothing", 0o644);
    let why = next(&mut source).await.unwrap_err();
    assert!(
        why.contains("tls.crt") && why.contains("no certificate"),
        "{why}"
    );
    let again = source.read().await;
    assert!(source.judge(again).is_none());
    fs::remove_file(pair.scratch.at("tls.crt")).unwrap();
    let why = next(&mut source).await.unwrap_err();
    assert!(why.contains("No such file"), "{why}");
    pair.put(&leaf);
    is(&next(&mut source).await.unwrap(), &leaf);
}

#[tokio::test]
async fn directories_that_are_swapped_are_followed() {
    let pair = Pair::new();
    let scratch = &pair.scratch;
    // As the kubelet does it: tls.key -> ..data/tls.key, ..data -> ..version.
    let publish = |version: &str, leaf: &Leaf| {
        fs::create_dir(scratch.at(version)).unwrap();
        scratch.put(
            &format!("{version}/tls.key"),
            &leaf.key.serialize_pem(),
            0o600,
        );
        scratch.put(&format!("{version}/tls.crt"), &chain(leaf), 0o644);
        symlink(version, scratch.at("..tmp")).unwrap();
        fs::rename(scratch.at("..tmp"), scratch.at("..data")).unwrap();
    };
    publish("..1", &pair.leaf());
    for name in ["tls.key", "tls.crt"] {
        symlink(format!("..data/{name}"), scratch.at(name)).unwrap();
    }
    let mut source = pair.source();
    let leaf = pair.leaf();
    publish("..2", &leaf);
    is(&next(&mut source).await.unwrap(), &leaf);
}

#[test]
fn a_key_that_others_may_read_is_refused() {
    let pair = Pair::new();
    let leaf = pair.leaf();
    pair.put(&leaf);
    for mode in [0o640, 0o604, 0o660, 0o601, 0o610, 0o644] {
        pair.scratch.put("tls.key", &leaf.key.serialize_pem(), mode);
        let why = pair.files().load(UnixTime::now()).unwrap_err();
        assert!(why.contains(&format!("(mode {mode:04o})")), "{why}");
        assert!(why.contains("chmod 600") && !why.contains("BEGIN"), "{why}");
    }
    pair.scratch
        .put("tls.key", &leaf.key.serialize_pem(), 0o400);
    pair.files().load(UnixTime::now()).unwrap();
}

#[test]
fn what_is_no_small_file_is_refused() {
    let pair = Pair::new();
    pair.put(&pair.leaf());
    fs::remove_file(pair.scratch.at("tls.crt")).unwrap();
    fs::create_dir(pair.scratch.at("tls.crt")).unwrap();
    let why = pair.files().load(UnixTime::now()).unwrap_err();
    assert!(why.contains("it is no file"), "{why}");
    let big = "\n".repeat(LARGEST as usize + 1);
    pair.scratch.put("tls.key", &big, 0o600);
    let why = pair.files().load(UnixTime::now()).unwrap_err();
    assert!(why.contains("larger than"), "{why}");
}

#[tokio::test]
async fn trust_follows_its_files() {
    let scratch = Scratch::new();
    let (old, new) = (Ca::new("old"), Ca::new("new"));
    let both = [&old, &new].map(|ca| pem("CERTIFICATE", &ca.der)).concat();
    let domain: TrustDomain = "one.example".parse().unwrap();
    let roots = |update: &Update| {
        let trust = update.trust.as_ref().unwrap();
        trust.bundle(&domain).unwrap().roots.len()
    };
    scratch.put("roots.pem", &pem("CERTIFICATE", &old.der), 0o644);
    scratch.put(
        "lists.pem",
        &pem("X509 CRL", &old.list(&[1], NOW + SPAN)),
        0o644,
    );
    let files = Files::Trust(vec![DomainFiles {
        domain: domain.clone(),
        roots: vec![scratch.at("roots.pem")],
        lists: vec![scratch.at("lists.pem")],
    }]);
    let (mut source, first) = FilesSource::load(files, UnixTime::now()).unwrap();
    assert_eq!(roots(&first), 1);
    scratch.put("roots.pem", &both, 0o644);
    assert_eq!(roots(&next(&mut source).await.unwrap()), 2);
    scratch.put(
        "lists.pem",
        &pem("X509 CRL", &old.list(&[1, 2], NOW + SPAN)),
        0o644,
    );
    assert!(next(&mut source).await.unwrap().trust.is_some());
    scratch.put("lists.pem", &both, 0o644);
    let why = next(&mut source).await.unwrap_err();
    assert!(
        why.contains("lists.pem") && why.contains("no revocation list"),
        "{why}"
    );
}

#[test]
fn a_certificate_whose_time_has_not_come_is_told_alike_each_time() {
    let pair = Pair::new();
    let early = pair.ca.leaf_with(WEB, |params| {
        params.not_before = date(NOW * 2);
        params.not_after = date(NOW * 2 + SPAN);
    });
    pair.put(&early);
    let read = |ahead| {
        let now = UnixTime::now().as_secs() + ahead;
        let now = UnixTime::since_unix_epoch(Duration::from_secs(now));
        pair.files().load(now).unwrap_err()
    };
    assert_eq!(read(0), read(5));
    assert!(read(0).contains("certificate_not_yet_valid"));
}
