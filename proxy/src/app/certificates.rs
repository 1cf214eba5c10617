//! Certificates and keys that change while the configuration stays.
//!
//! Their files are looked at once a second: by what the file system says of them, and where that
//! changed and has come to rest, by their content. What is in them serves new connections after the
//! same swap as any other change, or is refused as a whole. Polling and not inotify: a few calls a
//! second see every kind of replacement, links and network file systems included, and a process may
//! not have a watch for each of hundreds of files.

use std::sync::Arc;

use super::App;

impl App {
    /// Puts changed files to work. Called about once a second.
    pub(super) fn look_at_files(&mut self) {
        let table = self.process.table.load_full();
        // What is being put to work has just read them.
        if table.version == 0 || self.next.is_some() {
            return;
        }
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
