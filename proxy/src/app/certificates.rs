//! Certificates and keys that change while the configuration stays.
//!
//! Their files are looked at once a second: by what the file system says of them, and where that
//! changed and has come to rest, by their content. What is in them serves new connections after the
//! same swap as any other change, or is refused as a whole. Polling and not inotify: a few calls a
//! second see every kind of replacement, links and network file systems included, and a process may
//! not have a watch for each of hundreds of files.

use std::{collections::HashMap, sync::Arc};

use rustls::pki_types::UnixTime;

use super::App;
use crate::{
    identity::Passed,
    tls::{InUse, Table},
};

/// Longest pause between two looks at the clock: it may have been set.
const LOOK: u64 = 600;

/// What was told of the lives of certificates.
#[derive(Default)]
pub(super) struct Lives {
    told: HashMap<String, Passed>,
    /// Of which version, and when to look again, in seconds since 1970.
    looked_at: (u64, u64),
}

impl Lives {
    /// Tells of certificates that near their end, each step once.
    fn tell(&mut self, version: u64, table: &Table, now: UnixTime) {
        let seconds = now.as_secs();
        let (known, next) = self.looked_at;
        if known == version && (next.saturating_sub(LOOK)..next).contains(&seconds) {
            return;
        }
        let mut told = HashMap::new();
        let mut pause = LOOK;
        for it in table.certificates() {
            let passed = it.life.passed(now);
            // One that took the place of another begins anew.
            let key = format!(
                "{} {} {} {}",
                it.scope,
                it.name,
                it.file,
                it.life.not_after.as_secs()
            );
            if self.told.get(&key).is_none_or(|told| *told < passed) {
                tell(&it, passed, now);
            }
            told.insert(key, passed);
            let step = it.life.next_step(now).map_or(LOOK, |step| step.as_secs());
            pause = pause.min(step);
        }
        self.told = told;
        self.looked_at = (version, seconds + pause);
    }
}

fn tell(it: &InUse<'_>, passed: Passed, now: UnixTime) {
    let (scope, name, file) = (it.scope, it.name, it.file);
    let left = it.life.left(now);
    match passed {
        Passed::Young => {}
        Passed::Nothing => {
            tracing::warn!(scope, name, file, "the time of a certificate has not begun");
        }
        Passed::Half => {
            tracing::info!(
                scope,
                name,
                file,
                left,
                "half of a certificate's life has passed"
            );
        }
        Passed::ThreeQuarters => {
            tracing::warn!(
                scope,
                name,
                file,
                left,
                "three quarters of a certificate's life have passed"
            );
        }
        Passed::NineTenths => {
            tracing::error!(
                scope,
                name,
                file,
                left,
                "nine tenths of a certificate's life have passed"
            );
        }
        Passed::All => tracing::error!(scope, name, file, "a certificate has expired"),
    }
}

impl App {
    /// Puts changed files to work. Called about once a second.
    pub(super) fn look_at_files(&mut self) {
        let table = self.process.table.load_full();
        // What is being put to work has just read them.
        if table.version == 0 || self.next.is_some() {
            return;
        }
        self.lives.tell(table.version, &table.tls, UnixTime::now());
        let known = &table.tls.files;
        let now = known.now();
        if now == *known {
            self.changed_files = None;
            return;
        }
        // A certificate and its key are two files: whoever replaces them may be at work.
        let rests = self.changed_files.as_ref() == Some(&now);
        let refused = self.refused_files.as_ref() == Some(&now);
        self.changed_files = Some(now);
        if !rests || refused {
            return;
        }
        tracing::info!("files of certificates changed");
        match self.plan(Arc::clone(&table.source)) {
            Ok(mut next) => {
                // A newer text that was refused stays refused.
                next.outdated = self.text_refused;
                self.refused_files = None;
                self.next = Some(next);
            }
            Err(problems) => {
                self.refuse(&problems);
                self.refused_files.clone_from(&self.changed_files);
            }
        }
    }
}
