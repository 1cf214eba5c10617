//! Whom we trust: for each trust domain its roots, and the lists of what they took back.
//!
//! Trust in several domains is federation, and it is one map: roots of one domain vouch for no
//! identity of another. While a root is replaced, the old and the new one stand side by side.

use std::{collections::BTreeMap, fmt};

use outrigger_config::model::TrustDomain;
use rustls::pki_types::{
    CertificateDer, CertificateRevocationListDer, TrustAnchor, UnixTime,
    pem::{self, PemObject as _},
};
use webpki::{CertRevocationList, OwnedCertRevocationList, anchor_from_trusted_cert};
use x509_parser::{
    prelude::FromDer as _, revocation_list::CertificateRevocationList, x509::SubjectPublicKeyInfo,
};

use super::{
    constraints::Hosts,
    life::Life,
    refusal::{Refusal, Refused},
    svid::{self, Fingerprint},
};

/// Most roots of one trust domain. Each is tried for each handshake.
pub(super) const MOST_ROOTS: usize = 16;
/// Most revocation lists of one trust domain.
pub(super) const MOST_LISTS: usize = 64;

/// One root.
pub(crate) struct Root {
    pub(super) anchor: [TrustAnchor<'static>; 1],
    pub(super) hosts: Hosts,
    pub(crate) life: Life,
    /// In hexadecimal digits.
    pub(crate) fingerprint: Box<str>,
    der: CertificateDer<'static>,
    /// Places in [`Bundle::lists`] of what applies below this root.
    lists: Vec<usize>,
}

/// A list of certificates that were taken back.
struct List {
    parsed: CertRevocationList<'static>,
    der: CertificateRevocationListDer<'static>,
    /// When a newer one was to be there.
    next_update: Option<UnixTime>,
}

/// What one trust domain is judged by.
#[derive(Default)]
pub(crate) struct Bundle {
    pub(crate) roots: Vec<Root>,
    lists: Vec<List>,
}

/// Every trust domain that is trusted.
#[derive(Default)]
pub(crate) struct Trust {
    bundles: BTreeMap<TrustDomain, Bundle>,
}

impl Bundle {
    /// Adds roots, as PEM.
    ///
    /// # Errors
    /// One of them cannot be a root, or there is none, or there are too many.
    pub(crate) fn add_pem(&mut self, roots: &[u8]) -> Result<(), Refused> {
        let roots: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(roots).collect();
        self.add_all(roots.map_err(|error| malformed(&error))?)
    }

    pub(crate) fn new(roots: Vec<CertificateDer<'static>>) -> Result<Self, Refused> {
        let mut bundle = Self::default();
        bundle.add_all(roots)?;
        Ok(bundle)
    }

    fn add_all(&mut self, roots: Vec<CertificateDer<'static>>) -> Result<(), Refused> {
        if roots.is_empty() {
            return Err(Refusal::Missing.because("there is no certificate in it"));
        }
        roots
            .into_iter()
            .try_for_each(|der| self.add(Root::new(der)?))
    }

    fn add(&mut self, root: Root) -> Result<(), Refused> {
        if self.roots.iter().any(|known| known.der == root.der) {
            return Ok(());
        }
        if self.roots.len() == MOST_ROOTS {
            let why = format!("more than {MOST_ROOTS} roots for one trust domain");
            return Err(Refusal::BadChain.because(why));
        }
        self.roots.push(root);
        Ok(())
    }

    /// Adds revocation lists, as PEM.
    pub(crate) fn revoke_by_pem(&mut self, lists: &[u8]) -> Result<(), Refused> {
        let lists: Result<Vec<_>, _> =
            CertificateRevocationListDer::pem_slice_iter(lists).collect();
        let lists = lists.map_err(|error| malformed(&error))?;
        if lists.is_empty() {
            return Err(Refusal::Missing.because("there is no revocation list in it"));
        }
        self.revoke(lists)
    }

    pub(crate) fn revoke(
        &mut self,
        lists: Vec<CertificateRevocationListDer<'static>>,
    ) -> Result<(), Refused> {
        for der in lists {
            if self.lists.iter().any(|known| known.der == der) {
                continue;
            }
            if self.lists.len() == MOST_LISTS {
                let why = format!("more than {MOST_LISTS} revocation lists for one trust domain");
                return Err(Refusal::BadChain.because(why));
            }
            self.lists.push(List::new(der)?);
        }
        self.assign_lists();
        Ok(())
    }

    /// Gives each root the lists that apply below it. Of two roots with one name, as the old and
    /// the new one often are, each has its own; a list that no root signed is of an authority in
    /// between and applies below all.
    fn assign_lists(&mut self) {
        let signed: Vec<Vec<bool>> = self
            .lists
            .iter()
            .map(|list| {
                self.roots
                    .iter()
                    .map(|root| list.is_signed_by(root))
                    .collect()
            })
            .collect();
        for (at, root) in self.roots.iter_mut().enumerate() {
            root.lists = signed
                .iter()
                .enumerate()
                .filter(|(_, by)| by[at] || !by.contains(&true))
                .map(|(list, _)| list)
                .collect();
        }
    }

    /// The lists that apply below a root.
    pub(super) fn lists(&self, root: &Root) -> Vec<&CertRevocationList<'static>> {
        root.lists
            .iter()
            .map(|at| &self.lists[*at].parsed)
            .collect()
    }

    pub(crate) fn count_lists(&self) -> usize {
        self.lists.len()
    }

    /// Lists whose successor is late. They are used on: what they took back stays taken back.
    pub(crate) fn stale_lists(&self, now: UnixTime) -> usize {
        let late = |list: &&List| list.next_update.is_some_and(|next| next < now);
        self.lists.iter().filter(late).count()
    }
}

impl Trust {
    /// Trusts a domain by these roots, and by no others.
    pub(crate) fn add(&mut self, domain: TrustDomain, bundle: Bundle) {
        self.bundles.insert(domain, bundle);
    }

    pub(crate) fn bundle(&self, domain: &TrustDomain) -> Option<&Bundle> {
        self.bundles.get(domain)
    }

    pub(crate) fn domains(&self) -> impl Iterator<Item = (&TrustDomain, &Bundle)> {
        self.bundles.iter()
    }
}

impl Root {
    fn new(der: CertificateDer<'static>) -> Result<Self, Refused> {
        let cert = svid::parse(&der)?;
        svid::of_authority(&cert)?;
        let life = svid::life(&cert)?;
        let anchor = anchor_from_trusted_cert(&der).map_err(|error| Refused::by_path(&error))?;
        let mut anchor = anchor.to_owned();
        let hosts = Hosts::take_from(&mut anchor)
            .ok_or_else(|| Refusal::Malformed.because("its name constraints cannot be read"))?;
        Ok(Self {
            anchor: [anchor],
            hosts,
            life,
            fingerprint: Fingerprint::of(&der).to_string().into(),
            lists: Vec::new(),
            der,
        })
    }
}

impl List {
    fn new(der: CertificateRevocationListDer<'static>) -> Result<Self, Refused> {
        let parsed = OwnedCertRevocationList::from_der(&der);
        let parsed = parsed.map_err(|error| Refused::by_path(&error))?;
        let (_, facts) = CertificateRevocationList::from_der(&der)
            .map_err(|error| Refusal::Malformed.because(error.to_string()))?;
        let seconds = facts
            .next_update()
            .and_then(|at| u64::try_from(at.timestamp()).ok());
        Ok(Self {
            next_update: seconds
                .map(|at| UnixTime::since_unix_epoch(std::time::Duration::from_secs(at))),
            parsed: parsed.into(),
            der,
        })
    }

    fn is_signed_by(&self, root: &Root) -> bool {
        let list = CertificateRevocationList::from_der(&self.der);
        let root = svid::parse(&root.der);
        let (Ok((_, list)), Ok(root)) = (list, root) else {
            return false;
        };
        let key: &SubjectPublicKeyInfo<'_> = root.public_key();
        list.issuer() == root.subject() && list.verify_signature(key).is_ok()
    }
}

fn malformed(error: &pem::Error) -> Refused {
    Refusal::Malformed.because(format!("no PEM: {error}"))
}

impl fmt::Debug for Bundle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let roots = self.roots.iter().map(|root| &root.fingerprint);
        write!(f, "{} lists, roots ", self.lists.len())?;
        f.debug_list().entries(roots).finish()
    }
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(&self.bundles).finish()
    }
}
