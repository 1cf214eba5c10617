//! Files that are right, wrong, changed or too open, and which certificate they come to.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
};

use outrigger_config::model;
use rcgen::{CertificateParams, KeyPair};

use super::Table;

/// A folder that is gone with its test.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "outrigger-tls-{}-{}",
            std::process::id(),
            NEXT.fetch_add(1, Relaxed)
        );
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn write(&self, name: &str, text: &str, mode: u32) {
        let path = self.0.join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }

    /// A certificate for some names, and its key.
    fn certify(&self, file: &str, names: &[&str]) {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(names).unwrap();
        let certificate = certificate.self_signed(&key).unwrap();
        self.write(&format!("{file}.pem"), &certificate.pem(), 0o644);
        self.write(&format!("{file}.key"), &key.serialize_pem(), 0o600);
    }

    fn config(&self, text: &str) -> model::Config {
        let text = text.replace("DIR", &self.0.display().to_string());
        let text = format!("version: 1\n{text}");
        let loaded = outrigger_config::read(&text, "test.yaml", &|_| None);
        loaded
            .unwrap_or_else(|problems| panic!("{problems}"))
            .config
    }

    fn read(&self, text: &str, previous: &Table) -> Result<Table, String> {
        let read = Table::read(&self.config(text), previous);
        read.map_err(|lines| lines.replace(&format!("{}/", self.0.display()), ""))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn listener(certificates: &[&str], more: &str) -> String {
    let list: Vec<_> = certificates
        .iter()
        .map(|name| format!("{{ cert: DIR/{name}.pem, key: DIR/{name}.key }}"))
        .collect();
    format!(
        "listeners: [{{ name: web, bind: '127.0.0.1:0', tls: {{ certificates: [{}]{more} }} }}]\n",
        list.join(", ")
    )
}

#[test]
fn every_fault_of_a_file_is_told_with_its_field() {
    let folder = Folder::new();
    for name in ["a", "b", "open"] {
        folder.certify(name, &["a.example"]);
    }
    folder.write("none.pem", "nothing\n", 0o644);
    folder.write("none.key", "nothing\n", 0o600);
    folder.write("cut.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n", 0o644);
    folder.write(
        "bad.pem",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        0o644,
    );
    folder.write(
        "open.key",
        &fs::read_to_string(folder.0.join("open.key")).unwrap(),
        0o640,
    );
    let text = "listeners: [{ name: web, bind: '127.0.0.1:0', tls: { client_certificates: required,
        client_ca: [DIR/a.pem, DIR/none.pem], certificates: [
        { cert: DIR/a.pem, key: DIR/b.key }, { cert: DIR/gone.pem, key: DIR/a.key },
        { cert: DIR/none.pem, key: DIR/a.key }, { cert: DIR/cut.pem, key: DIR/a.key },
        { cert: DIR/bad.pem, key: DIR/a.key }, { cert: DIR/a.pem, key: DIR/none.key },
        { cert: DIR/open.pem, key: DIR/open.key }, { cert: DIR/a.pem, key: DIR/a.key, ocsp: DIR/a.pem } ] } }]
clusters: [{ name: c, endpoints: ['127.0.0.1:1'], tls: { ca: { files: [DIR/gone.pem] },
        client_certificate: { cert: DIR/a.pem, key: DIR/b.key } } }]";
    let problems = folder.read(text, &Table::default()).err().unwrap();
    let expected = [
        "listeners[0].tls.certificates[0].key: b.key: it is not the key of the certificate",
        "listeners[0].tls.certificates[1].cert: gone.pem: No such file or directory (os error 2)",
        "listeners[0].tls.certificates[2].cert: none.pem: no certificate is in it (PEM is expected)",
        "listeners[0].tls.certificates[3].cert: cut.pem: a section has no end",
        "listeners[0].tls.certificates[4].cert: bad.pem: it cannot be read",
        "listeners[0].tls.certificates[5].key: none.key: there is no private key",
        "listeners[0].tls.certificates[6].key: open.key: others than its owner may use it (mode 0640); a key must have 0600 or less",
        "listeners[0].tls.certificates[7].ocsp: a.pem: no OCSP response (DER is expected)",
        "listeners[0].tls.client_ca[1]: none.pem: no certificate is in it (PEM is expected)",
        "clusters[0].tls.ca.files[0]: gone.pem: No such file or directory (os error 2)",
        "clusters[0].tls.client_certificate.key: b.key: it is not the key of the certificate",
    ];
    assert_eq!(problems.lines().collect::<Vec<_>>(), expected);
}

#[test]
fn the_name_asked_for_chooses_the_certificate() {
    let folder = Folder::new();
    folder.certify("first", &["first.example"]);
    folder.certify("wild", &["*.wild.example", "wild.example"]);
    folder.certify("exact", &["a.wild.example", "first.example"]);
    let text = listener(&["first", "wild", "exact"], "");
    let table = folder.read(&text, &Table::default()).unwrap();
    let tls = table.listener("web").unwrap();
    for (name, file) in [
        (Some("first.example"), "first"),
        (Some("a.wild.example"), "exact"),
        (Some("b.wild.example"), "wild"),
        (Some("wild.example"), "wild"),
        (Some("c.b.wild.example"), "first"),
        (Some("other.example"), "first"),
        (None, "first"),
    ] {
        let served = tls.choose(name.map(str::as_bytes)).unwrap();
        let found = Path::new(&*served.certificate.file).file_stem();
        assert_eq!(found, Some(file.as_ref()), "{name:?}");
    }
}

#[test]
fn what_did_not_change_is_kept() {
    let folder = Folder::new();
    folder.certify("a", &["a.example"]);
    folder.certify("ca", &["ca.example"]);
    let text = listener(
        &["a"],
        ", client_certificates: optional, client_ca: [DIR/ca.pem]",
    ) + "clusters: [{ name: c, endpoints: ['127.0.0.1:1'], tls: { ca: { files: [DIR/ca.pem] } } }]";
    let first = folder.read(&text, &Table::default()).unwrap();
    assert_eq!(first.files, first.files.now());
    let same = folder.read(&text, &first).unwrap();
    let ptr = |a: &Table, b: &Table| {
        let listeners = Arc::ptr_eq(a.listener("web").unwrap(), b.listener("web").unwrap());
        let clusters = Arc::ptr_eq(a.cluster("c").unwrap(), b.cluster("c").unwrap());
        (listeners, clusters)
    };
    assert_eq!(ptr(&first, &same), (true, true));

    // Another certificate is served, and who was known stays known.
    folder.certify("a", &["a.example"]);
    assert_ne!(first.files, first.files.now());
    let renewed = folder.read(&text, &same).unwrap();
    assert_eq!(ptr(&same, &renewed), (false, true));
    let tickets = |table: &Table| {
        let tls = table.listener("web").unwrap();
        let ticketer = Arc::clone(&tls.choose(None).unwrap().config.ticketer);
        Arc::as_ptr(&ticketer).cast::<()>() as usize
    };
    assert_eq!(tickets(&first), tickets(&renewed));

    // Others are trusted: tickets of those before are void.
    folder.certify("ca", &["ca.example"]);
    let distrusted = folder.read(&text, &renewed).unwrap();
    assert_eq!(ptr(&renewed, &distrusted), (false, false));
    assert_ne!(tickets(&renewed), tickets(&distrusted));
}
