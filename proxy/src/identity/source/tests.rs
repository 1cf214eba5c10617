//! Sources that say what a test tells them to.

use super::{
    super::testing::{Ca, Leaf, NOW, SPAN, at, by_the_clock, trusting},
    *,
};

const WEB: &str = "spiffe://one.example/web";

struct Scripted(mpsc::Receiver<Result<Update, String>>);

impl Source for Scripted {
    fn name(&self) -> String {
        "scripted".into()
    }

    fn next(&mut self) -> Pin<Box<dyn Future<Output = Result<Update, String>> + Send + '_>> {
        Box::pin(async {
            match self.0.recv().await {
                Some(said) => said,
                None => std::future::pending().await,
            }
        })
    }
}

fn scripted() -> (mpsc::Sender<Result<Update, String>>, Box<dyn Source>) {
    let (sender, receiver) = mpsc::channel(1);
    (sender, Box::new(Scripted(receiver)))
}

fn own(leaf: &Leaf) -> Update {
    let key = super::super::pem::KeyBytes::pkcs8(leaf.key.serialize_der().into());
    let own = Own::new(&key, vec![leaf.der.clone()], UnixTime::now()).unwrap();
    Update {
        own: Some(Arc::new(own)),
        trust: None,
    }
}

fn trust(domain: &str, ca: &Ca) -> Update {
    Update {
        own: None,
        trust: Some(Arc::new(trusting(domain, &[ca]))),
    }
}

#[track_caller]
fn shows(held: &Held, leaf: &Leaf) {
    let shown = held.certified().unwrap();
    assert_eq!(shown.cert, std::slice::from_ref(&leaf.der));
}

async fn until(done: impl Fn() -> bool) {
    let wait = async {
        while !done() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_mins(1), wait)
        .await
        .expect("it comes to pass");
}

#[tokio::test]
async fn what_fails_keeps_what_was() {
    let ca = Ca::new("root");
    let (first, second) = (
        ca.leaf_with(WEB, by_the_clock),
        ca.leaf_with(WEB, by_the_clock),
    );
    let held = Arc::new(Held::new());
    assert!(!ResolvesClientCert::has_certs(&*held) && held.certified().is_none());
    let mut changes = held.changes();
    let (sender, source) = scripted();
    let keeper = Keeper::start(&held, vec![source], vec![(0, own(&first))]);
    shows(&held, &first);
    sender.send(Err("out of order".into())).await.unwrap();
    until(|| held.sources().iter().all(|state| state.error.is_some())).await;
    let state = held.sources()[0].clone();
    assert_eq!((state.updates, state.failures), (1, 1));
    shows(&held, &first);
    let version = *changes.borrow_and_update();
    assert_eq!(version, Version { own: 1, trust: 0 });
    sender.send(Ok(own(&second))).await.unwrap();
    changes.changed().await.unwrap();
    shows(&held, &second);
    assert!(held.sources()[0].error.is_none());
    // What is equal is no change.
    sender.send(Ok(own(&second))).await.unwrap();
    until(|| held.sources()[0].updates == 3).await;
    assert_eq!(*changes.borrow_and_update(), Version { own: 2, trust: 0 });
    drop(keeper);
    let ended = tokio::time::timeout(Duration::from_mins(1), sender.closed());
    ended.await.expect("its tasks end with it");
}

#[tokio::test]
async fn trust_is_the_sum_of_all_sources() {
    let (one, two, new) = (Ca::new("one"), Ca::new("two"), Ca::new("new"));
    let held = Arc::new(Held::new());
    let mut changes = held.changes();
    let (first, source) = scripted();
    let (_second, other) = scripted();
    let loaded = vec![
        (0, trust("one.example", &one)),
        (1, trust("two.example", &two)),
    ];
    let _keeper = Keeper::start(&held, vec![source, other], loaded);
    let roots = |domain: &str| {
        let trust = held.trust();
        let bundle = trust.bundle(&domain.parse().unwrap());
        bundle.map_or(0, |bundle| bundle.roots.len())
    };
    assert_eq!((roots("one.example"), roots("two.example")), (1, 1));
    assert_eq!(changes.borrow_and_update().trust, 1);
    first.send(Ok(trust("two.example", &new))).await.unwrap();
    changes.changed().await.unwrap();
    assert_eq!((roots("one.example"), roots("two.example")), (0, 2));
    // Another configuration, with one source less.
    let (_third, source) = scripted();
    let _keeper = Keeper::start(&held, vec![source], vec![(0, trust("one.example", &one))]);
    assert_eq!((roots("one.example"), roots("two.example")), (1, 0));
}

#[test]
fn what_is_over_is_not_shown() {
    let ca = Ca::new("root");
    let held = Held::new();
    held.set_own(own(&ca.leaf_with(WEB, by_the_clock)).own);
    let end = held.last_own().unwrap().facts.life.not_after;
    assert!(held.own(end).is_some());
    assert!(held.own(at(end.as_secs() + 1)).is_none());
    assert!(held.last_own().is_some());
}

#[test]
fn each_step_of_a_life_is_told_once() {
    let root = Ca::new("root");
    let held = Arc::new(Held::new());
    held.set_trust(Arc::new(trusting("one.example", &[&root])));
    let mut keeping = Keeping {
        held,
        said: Vec::new(),
        told: HashMap::new(),
    };
    for (now, passed, next) in [
        (NOW - SPAN, Passed::Young, LOOK.as_secs()),
        (NOW, Passed::Half, SPAN / 2),
        (NOW + SPAN / 2, Passed::ThreeQuarters, SPAN * 3 / 10),
        (NOW + SPAN, Passed::NineTenths, 1),
        (NOW + SPAN + 1, Passed::All, LOOK.as_secs()),
    ] {
        let pause = keeping.tell_lives(at(now));
        assert_eq!(pause.as_secs(), next, "{now}");
        assert_eq!(keeping.told.values().collect::<Vec<_>>(), [&passed]);
    }
    // A new one begins anew.
    let fresh = Ca::new("root");
    keeping
        .held
        .set_trust(Arc::new(trusting("one.example", &[&fresh])));
    keeping.tell_lives(at(NOW));
    assert_eq!(keeping.told.values().collect::<Vec<_>>(), [&Passed::Half]);
}
