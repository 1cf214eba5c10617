//! Tables for people: aligned text for terminals, and Markdown.

use std::fmt::Write;

use super::{Cell, Column, Report, Row, Scene, State, plot};

/// One scene as an aligned table, with its notes.
pub(crate) fn text(scene: &Scene) -> String {
    let mut lines = vec![vec![String::new()]];
    let columns: Vec<_> = scene.shown().collect();
    lines[0].extend(columns.iter().map(|column| column.title.to_owned()));
    for row in &scene.rows {
        let mut line = vec![row.name.clone()];
        line.extend(columns.iter().map(|column| value(row, column)));
        lines.push(line);
    }
    let width = |at: usize| {
        lines
            .iter()
            .map(|l| l[at].chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<_> = (0..=columns.len()).map(width).collect();
    let mut out = format!("\n{}: {}\n", scene.name, scene.about);
    for (line, row) in lines
        .iter()
        .zip(std::iter::once(None).chain(scene.rows.iter().map(Some)))
    {
        let _ = write!(out, "  {:<width$}", line[0], width = widths[0]);
        if let Some(reason) = row.and_then(reason) {
            let _ = write!(out, "  {reason}");
        } else {
            for (cell, width) in line.iter().zip(&widths).skip(1) {
                let _ = write!(out, "  {cell:>width$}");
            }
        }
        out.truncate(out.trim_end().len());
        out.push('\n');
    }
    for note in notes(scene) {
        let _ = writeln!(out, "  {note}");
    }
    out
}

/// Why a row has no figures.
fn reason(row: &Row) -> Option<String> {
    match &row.state {
        State::Unable(why) => Some(format!("cannot: {why}")),
        State::Failed(why) => Some(format!("FAILED: {why}")),
        State::Measured | State::Direct | State::Errors => None,
    }
}

fn notes(scene: &Scene) -> Vec<String> {
    let mut notes = scene.notes.clone();
    for row in &scene.rows {
        if row.state == State::Errors {
            notes.push(format!(
                "{} does not rank: {}",
                row.name,
                row.errors.describe()
            ));
        } else if row.errors.total() > 0 {
            notes.push(format!("{}: {}", row.name, row.errors.describe()));
        }
        notes.extend(row.notes.iter().map(|note| format!("{}: {note}", row.name)));
    }
    let cells = || scene.rows.iter().flat_map(|row| row.cells.values());
    if cells().any(|cell| cell.limited) {
        notes.push("~ the load was the limit, not the proxy: does not rank".to_owned());
    }
    if cells().any(|cell| cell.place.is_some_and(|place| place.place == 1)) {
        notes.push("* leads; several lead where their rounds overlap".to_owned());
    }
    notes
}

fn value(row: &Row, column: &Column) -> String {
    let Some(cell) = row.cells.get(column.key) else {
        return "-".to_owned();
    };
    let digits = column.digits;
    let mut out = String::new();
    if leads(cell) {
        out.push('*');
    }
    if cell.limited {
        out.push('~');
    }
    let _ = write!(out, "{:.digits$}", cell.value.median);
    if column.spread {
        let _ = write!(
            out,
            " ({:.digits$}..{:.digits$})",
            cell.value.min, cell.value.max
        );
    }
    out
}

fn leads(cell: &Cell) -> bool {
    cell.place.is_some_and(|place| place.place == 1)
}

/// The whole report as Markdown, with its plots beside it.
pub(crate) fn markdown(report: &Report) -> String {
    let mut out = format!("# {}\n\n{}\n\n", report.title, report.date);
    let machine = &report.machine;
    let _ = writeln!(
        out,
        "- {}, {} CPUs, {:.1} GiB, Linux {}\n- CPUs of proxies {:?}, load {:?}, back end {:?}\n- `{}`",
        machine.cpu,
        machine.cpus,
        machine.memory_gib,
        machine.kernel,
        machine.layout.proxy,
        machine.layout.load,
        machine.layout.backend,
        report.command
    );
    for term in &report.terms {
        let _ = writeln!(out, "- {term}");
    }
    out.push_str("\n| | version | |\n|---|---|---|\n");
    for peer in &report.peers {
        let version = peer.state();
        let _ = writeln!(
            out,
            "| {} | {version} | {} |",
            peer.name,
            peer.notes.join("; ")
        );
    }
    for scene in &report.scenes {
        let _ = write!(out, "\n## {}\n\n{}\n\n", scene.name, scene.about);
        out.push_str(&markdown_table(scene));
        for note in notes(scene) {
            let _ = write!(
                out,
                "\n- {}",
                note.replace("* leads", "bold leads").replace('*', "\\*")
            );
        }
        out.push('\n');
        for (name, what) in plot::names(scene) {
            let _ = write!(out, "\n![{what}](plots/{name})\n");
        }
    }
    out
}

fn markdown_table(scene: &Scene) -> String {
    let columns: Vec<_> = scene.shown().collect();
    let mut out = String::from("| |");
    for column in &columns {
        let _ = write!(out, " {} |", column.title);
    }
    let _ = write!(out, "\n|---|{}\n", "--:|".repeat(columns.len()));
    for row in &scene.rows {
        let _ = write!(out, "| {} |", row.name);
        for (at, column) in columns.iter().enumerate() {
            let text = match reason(row) {
                Some(reason) if at == 0 => reason,
                Some(_) => String::new(),
                None => value(row, column),
            };
            let _ = match text.strip_prefix('*') {
                Some(text) => write!(out, " **{text}** |"),
                None => write!(out, " {text} |"),
            };
        }
        out.push('\n');
    }
    out
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::stats::Better;

    pub(in super::super) fn scene() -> Scene {
        let column = |key, title, better| Column {
            key,
            title,
            digits: 1,
            spread: true,
            better,
        };
        let mut ours = Row::new("Outrigger", State::Measured);
        ours.set("cpu", &[12.0, 12.2, 12.1], false);
        ours.set("rate", &[60_000.0], true);
        let mut theirs = Row::new("HAProxy", State::Measured);
        theirs.set("cpu", &[14.0, 14.2, 14.1], false);
        theirs.set("rate", &[50_000.0], false);
        let mut broken = Row::new("Envoy", State::Errors);
        broken.set("cpu", &[1.0], false);
        broken.errors.broken = 3;
        let unable = Row::new("nginx", State::Unable("no stream module".to_owned()));
        let mut scene = Scene {
            name: "keepalive".to_owned(),
            about: "kept connections".to_owned(),
            columns: vec![
                column("cpu", "CPU us/request", Some(Better::Less)),
                column("rate", "requests/s", Some(Better::More)),
                column("never", "nowhere", None),
            ],
            rows: vec![ours, theirs, broken, unable],
            notes: Vec::new(),
        };
        scene.rank();
        scene
    }

    #[test]
    fn a_table_is_aligned_and_tells_who_leads_and_who_does_not_rank() {
        let expected = "
keepalive: kept connections
               CPU us/request                    requests/s
  Outrigger  *12.1 (12.0..12.2)   ~60000.0 (60000.0..60000.0)
  HAProxy     14.1 (14.0..14.2)  *50000.0 (50000.0..50000.0)
  Envoy       1.0 (1.0..1.0)                             -
  nginx      cannot: no stream module
  Envoy does not rank: 3 broken off
  ~ the load was the limit, not the proxy: does not rank
  * leads; several lead where their rounds overlap
";
        let got = text(&scene());
        let squeeze = |text: &str| -> Vec<String> {
            let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
            text.lines().map(words).collect()
        };
        assert_eq!(squeeze(&got), squeeze(expected), "{got}");
        let rows: Vec<_> = got.lines().skip(2).take(4).collect();
        let ends: Vec<_> = rows.iter().map(|row| row.chars().count()).collect();
        assert!(ends.windows(2).all(|pair| pair[0] == pair[1]), "{got}");
    }

    #[test]
    fn markdown_marks_the_leader() {
        let got = markdown_table(&scene());
        assert!(
            got.contains("| Outrigger | **12.1 (12.0..12.2)** | ~60000.0"),
            "{got}"
        );
        assert!(
            got.contains("| nginx | cannot: no stream module |  |"),
            "{got}"
        );
    }
}
