//! What is told at the end: one model for `compare` and `load`, and the forms it takes.

mod html;
mod plot;
mod table;

use std::{collections::BTreeMap, fs, io, path::Path};

use serde::Serialize;

pub(crate) use table::{markdown, text};

use crate::{
    cpus::Layout,
    histogram::Latencies,
    load::Errors,
    stats::{Better, Place, Summary, places},
};

#[derive(Serialize)]
pub(crate) struct Report {
    pub(crate) title: String,
    /// The command line that made it.
    pub(crate) command: String,
    /// When it began, UTC.
    pub(crate) date: String,
    pub(crate) machine: Machine,
    /// What holds for all tables.
    pub(crate) terms: Vec<String>,
    pub(crate) peers: Vec<PeerFacts>,
    pub(crate) scenes: Vec<Scene>,
}

#[derive(Clone, Serialize)]
pub(crate) struct Machine {
    pub(crate) cpu: String,
    pub(crate) cpus: usize,
    pub(crate) memory_gib: f64,
    pub(crate) kernel: String,
    pub(crate) layout: Layout,
}

#[derive(Clone, Serialize)]
pub(crate) struct PeerFacts {
    pub(crate) name: String,
    pub(crate) version: Option<String>,
    /// Why it is not there.
    pub(crate) missing: Option<String>,
    pub(crate) notes: Vec<String>,
}

impl PeerFacts {
    /// Its version, or why it is not there.
    fn state(&self) -> &str {
        let missing = self.missing.as_deref().unwrap_or_default();
        self.version.as_deref().unwrap_or(missing)
    }
}

/// One table: a scenario, at one rate if it has rates.
#[derive(Clone, Serialize)]
pub(crate) struct Scene {
    pub(crate) name: String,
    pub(crate) about: String,
    pub(crate) columns: Vec<Column>,
    pub(crate) rows: Vec<Row>,
    pub(crate) notes: Vec<String>,
}

#[derive(Clone, Copy, Serialize)]
pub(crate) struct Column {
    pub(crate) key: &'static str,
    pub(crate) title: &'static str,
    pub(crate) digits: usize,
    /// Show the spread as well.
    pub(crate) spread: bool,
    /// Whether it ranks, and how.
    pub(crate) better: Option<Better>,
}

#[derive(Clone, Serialize)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) state: State,
    pub(crate) cells: BTreeMap<&'static str, Cell>,
    pub(crate) errors: Errors,
    pub(crate) notes: Vec<String>,
    /// Of all rounds together.
    pub(crate) latencies: Latencies,
    /// Connections held, and bytes resident then.
    pub(crate) memory: Vec<(usize, u64)>,
    /// System calls per request, by name.
    pub(crate) system_calls: BTreeMap<String, f64>,
}

#[derive(Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum State {
    Measured,
    /// No proxy: what load and back end do alone.
    Direct,
    /// Measured, and something failed: it does not rank.
    Errors,
    /// It has no part in this scenario, and why.
    Unable(String),
    /// It should have, and why it had not.
    Failed(String),
}

#[derive(Clone, Serialize)]
pub(crate) struct Cell {
    pub(crate) value: Summary,
    /// The load was the limit, so that it does not rank.
    pub(crate) limited: bool,
    pub(crate) place: Option<Place>,
}

impl Row {
    pub(crate) fn new(name: &str, state: State) -> Self {
        Self {
            name: name.to_owned(),
            state,
            cells: BTreeMap::new(),
            errors: Errors::default(),
            notes: Vec::new(),
            latencies: Latencies::new(),
            memory: Vec::new(),
            system_calls: BTreeMap::new(),
        }
    }

    pub(crate) fn set(&mut self, key: &'static str, values: &[f64], limited: bool) {
        if let Some(value) = Summary::of(values) {
            let place = None;
            let cell = Cell {
                value,
                limited,
                place,
            };
            self.cells.insert(key, cell);
        }
    }

    pub(crate) fn median(&self, key: &str) -> Option<f64> {
        self.cells.get(key).map(|cell| cell.value.median)
    }
}

impl Scene {
    /// Gives places in every column that ranks. Rows with errors, and figures of which the load
    /// was the limit, have none.
    pub(crate) fn rank(&mut self) {
        for column in &self.columns {
            let Some(better) = column.better else {
                continue;
            };
            let counts = |row: &Row| {
                let cell = row.cells.get(column.key)?;
                (row.state == State::Measured && !cell.limited).then_some(cell.value)
            };
            let values: Vec<_> = self.rows.iter().map(counts).collect();
            for (row, place) in self.rows.iter_mut().zip(places(&values, better)) {
                if let Some(cell) = row.cells.get_mut(column.key) {
                    cell.place = place;
                }
            }
        }
    }

    /// Columns that any row has something in.
    fn shown(&self) -> impl Iterator<Item = &Column> {
        let has = |column: &&Column| self.rows.iter().any(|r| r.cells.contains_key(column.key));
        self.columns.iter().filter(has)
    }
}

/// Writes every form into a folder.
pub(crate) fn write(report: &Report, dir: &Path) -> io::Result<()> {
    let json = serde_json::to_string(report).map_err(io::Error::other)?;
    fs::write(dir.join("report.json"), json)?;
    fs::write(dir.join("report.html"), html::page(report))?;
    let plots = dir.join("plots");
    fs::create_dir_all(&plots)?;
    for (name, svg) in plot::all(report) {
        fs::write(plots.join(name), svg)?;
    }
    fs::write(dir.join("report.md"), markdown(report))
}
