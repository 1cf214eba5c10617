//! Admin and probes over reloads: one that stays takes over its settings, another is bound before
//! anything changes and served when the table is.

use std::sync::Arc;

use outrigger_config::model;

use super::App;
use crate::{
    admin::{self, Face, View},
    net::listen::Sharing,
};

/// What happens to a face.
pub(super) enum Change {
    Keep,
    Update(admin::Checked),
    Replace(admin::Bound),
    Close,
}

impl App {
    /// Opens what shows the process, before the first table serves: a start may wait for names, and
    /// whoever watches it should see that it lives.
    pub(super) fn open_faces(&mut self, config: &model::Config) -> Result<(), String> {
        let mut problems = Vec::new();
        let (admin, probes) = faces(config);
        let admin = bind_face(None, admin, |_| Sharing::Exclusive, &mut problems);
        let probes = bind_face(None, probes, |_| Sharing::Exclusive, &mut problems);
        if !problems.is_empty() {
            return Err(problems.join("\n"));
        }
        self.change_faces(admin, probes);
        Ok(())
    }

    pub(super) fn change_faces(&mut self, admin: Change, probes: Change) {
        let view = || Arc::clone(&self.shown) as Arc<dyn View>;
        change_face(&mut self.admin, admin, view());
        change_face(&mut self.probes, probes, view());
    }
}

/// The faces that a configuration asks for.
pub(super) fn faces(config: &model::Config) -> (Option<Face>, Option<Face>) {
    let admin = config.admin.clone().map(Face::Admin);
    let probes = config.probes.clone().map(Face::Probes);
    (admin, probes)
}

pub(super) fn bind_face(
    current: Option<&admin::Server>,
    wanted: Option<Face>,
    sharing: impl Fn(&model::BindAddress) -> Sharing,
    problems: &mut Vec<String>,
) -> Change {
    let Some(wanted) = wanted else {
        return Change::Close;
    };
    let name = wanted.name();
    let sharing = sharing(wanted.bind());
    let stays = current.is_some_and(|current| current.is(&wanted));
    let change = admin::Checked::new(wanted).and_then(|checked| {
        if stays {
            return Ok(Change::Update(checked));
        }
        checked.bind(sharing).map(Change::Replace)
    });
    change.unwrap_or_else(|error| {
        problems.push(format!("{name}: {error}"));
        Change::Keep
    })
}

fn change_face(face: &mut Option<admin::Server>, change: Change, view: Arc<dyn View>) {
    match change {
        Change::Keep => {}
        Change::Update(checked) => {
            if let Some(current) = face {
                current.update(&checked);
            }
        }
        Change::Replace(bound) => match bound.serve(view) {
            Ok((server, serving)) => {
                tokio::spawn(serving);
                *face = Some(server);
            }
            Err(error) => tracing::error!(%error, "admin cannot be served"),
        },
        Change::Close => *face = None,
    }
}
