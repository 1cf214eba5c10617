//! The identity we show: a chain with the key that belongs to it, and what it says. They are one
//! object and change together.

use std::{fmt, sync::Arc};

use rustls::{
    crypto::aws_lc_rs::sign::any_supported_type,
    pki_types::{CertificateDer, UnixTime},
    sign::CertifiedKey,
};

use x509_parser::error::X509Error;

use super::{
    pem::KeyBytes,
    refusal::{Refusal, Refused},
    svid::{self, Peer},
    verify::LONGEST_CHAIN,
};

/// A certificate of our own. Whatever shows it shows no key.
pub(crate) struct Own {
    /// What peers read in it.
    pub(crate) facts: Peer,
    pub(crate) certified: Arc<CertifiedKey>,
}

impl Own {
    /// A key and a chain, leaf first.
    ///
    /// # Errors
    /// One of both cannot be used, or they do not belong together.
    pub(crate) fn new(
        key: &KeyBytes,
        chain: Vec<CertificateDer<'static>>,
        now: UnixTime,
    ) -> Result<Self, Refused> {
        if chain.len() > LONGEST_CHAIN {
            let why = format!("more than {LONGEST_CHAIN} certificates");
            return Err(Refusal::BadChain.because(why));
        }
        let facts = svid::peer(&chain)?;
        in_order(&chain)?;
        let certified = certified(chain, key).map_err(|why| Refusal::Malformed.because(why))?;
        svid::in_time(facts.life, now)?;
        Ok(Self {
            facts,
            certified: Arc::new(certified),
        })
    }
}

/// A chain and its key, ready for use.
///
/// # Errors
/// Why they are of no use.
pub(crate) fn certified(
    chain: Vec<CertificateDer<'static>>,
    key: &KeyBytes,
) -> Result<CertifiedKey, &'static str> {
    let key = any_supported_type(&key.der()).map_err(|_| "no key that can be used")?;
    let certified = CertifiedKey::new(chain, key);
    match certified.keys_match() {
        Ok(()) => Ok(certified),
        Err(_) => Err("it is not the key of the certificate"),
    }
}

/// Each is signed by the next, as TLS sends them: some peers look no further.
fn in_order(chain: &[CertificateDer<'_>]) -> Result<(), Refused> {
    let parsed: Result<Vec<_>, _> = chain.iter().map(svid::parse).collect();
    let parsed = parsed?;
    for pair in parsed.windows(2) {
        if let [below, above] = pair {
            svid::of_authority(above)?;
            let signature = below.verify_signature(Some(above.public_key()));
            // Peers may know algorithms that this check does not.
            let is_wrong = matches!(signature, Err(X509Error::SignatureVerificationError));
            if is_wrong || below.issuer() != above.subject() {
                let why =
                    "its certificates do not follow one another: each must be signed by the next";
                return Err(Refusal::BadChain.because(why));
            }
        }
    }
    Ok(())
}

impl fmt::Debug for Own {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Own")
            .field("facts", &self.facts)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use rcgen::KeyPair;

    use super::{
        super::testing::{Ca, NOW, SPAN, at, now},
        *,
    };

    const WEB: &str = "spiffe://one.example/web";

    fn read(key: &KeyPair, chain: &[&CertificateDer<'_>]) -> Result<Own, Refused> {
        read_at(key, chain, now())
    }

    fn read_at(
        key: &KeyPair,
        chain: &[&CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<Own, Refused> {
        let key = KeyBytes::from_pem(key.serialize_pem().as_bytes()).unwrap();
        let chain = chain.iter().map(|der| (*der).clone().into_owned());
        Own::new(&key, chain.collect(), now)
    }

    #[track_caller]
    fn refused(own: Result<Own, Refused>, expected: Refusal) {
        assert_eq!(own.unwrap_err().refusal, expected);
    }

    #[test]
    fn a_pair_is_whole_or_refused() {
        let root = Ca::new("root");
        let between = root.below("between", |_| {});
        let leaf = between.leaf(WEB);
        let own = read(&leaf.key, &[&leaf.der, &between.der]).unwrap();
        assert_eq!(own.facts.id.as_str(), WEB);
        assert_eq!(own.certified.cert.len(), 2);
        let shown = format!("{own:?}");
        assert!(shown.contains(WEB) && !shown.contains("Key"), "{shown}");
        refused(
            read(&root.key, &[&leaf.der, &between.der]),
            Refusal::Malformed,
        );
        refused(read(&leaf.key, &[]), Refusal::Missing);
        refused(
            read(&leaf.key, &[&between.der, &leaf.der]),
            Refusal::WrongIdentity,
        );
        refused(read(&leaf.key, &[&leaf.der, &root.der]), Refusal::BadChain);
        refused(read(&leaf.key, &[&leaf.der, &leaf.der]), Refusal::BadChain);
        let many = [&[&leaf.der][..], &[&between.der; LONGEST_CHAIN]].concat();
        refused(read(&leaf.key, &many), Refusal::BadChain);
    }

    #[test]
    fn time_is_looked_at() {
        let root = Ca::new("root");
        let leaf = root.leaf(WEB);
        let read = |now| read_at(&leaf.key, &[&leaf.der], now);
        refused(read(at(NOW - SPAN - 1)), Refusal::NotYetValid);
        refused(read(at(NOW + SPAN + 1)), Refusal::Expired);
        read(at(NOW + SPAN)).unwrap();
    }
}
