//! The report as one page that needs nothing else: tables, plots, and the data it was made from.

use std::fmt::Write;

use super::{Report, plot, plot::escape, text};

const STYLE: &str = "
:root{color-scheme:light dark}
body{font:15px/1.5 system-ui,sans-serif;max-width:78rem;margin:2rem auto;padding:0 1rem}
pre{overflow-x:auto;font:13px/1.45 ui-monospace,monospace;padding:.8rem 1rem;border:1px solid #8884;border-radius:6px}
h2{margin-top:2.5rem;border-bottom:1px solid #8884}
.plots{display:flex;flex-wrap:wrap;gap:1rem}.plots svg{width:min(100%,36rem);height:auto}
table{border-collapse:collapse}td,th{padding:.2rem .8rem .2rem 0;text-align:left;vertical-align:top}
nav a{margin-right:.9rem}";

pub(super) fn page(report: &Report) -> String {
    let title = escape(&report.title);
    let mut out = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <title>{title}</title><style>{STYLE}</style></head><body>\n<h1>{title}</h1>\n"
    );
    let machine = &report.machine;
    let _ = writeln!(
        out,
        "<p>{} · {}, {} CPUs, {:.1} GiB, Linux {} · CPUs of proxies {:?}, load {:?}, back end {:?}</p><p><code>{}</code></p>",
        escape(&report.date),
        escape(&machine.cpu),
        machine.cpus,
        machine.memory_gib,
        escape(&machine.kernel),
        machine.layout.proxy,
        machine.layout.load,
        machine.layout.backend,
        escape(&report.command)
    );
    out.push_str("<ul>");
    for term in &report.terms {
        let _ = write!(out, "<li>{}</li>", escape(term));
    }
    out.push_str("</ul>\n<table><tr><th>proxy<th>version<th></tr>");
    for peer in &report.peers {
        let version = escape(peer.state());
        let (name, notes) = (escape(&peer.name), escape(&peer.notes.join("; ")));
        let _ = write!(out, "<tr><td>{name}<td>{version}<td>{notes}</tr>");
    }
    out.push_str("</table>\n<nav>");
    for scene in &report.scenes {
        let name = escape(&scene.name);
        let _ = write!(out, "<a href=\"#{name}\">{name}</a> ");
    }
    out.push_str("</nav>\n");
    for scene in &report.scenes {
        let name = escape(&scene.name);
        let table = escape(text(scene).trim_start());
        let _ = write!(
            out,
            "<h2 id=\"{name}\">{name}</h2>\n<pre>{table}</pre>\n<div class=\"plots\">"
        );
        for (_, _, svg) in plot::of(scene) {
            out.push_str(&svg);
        }
        out.push_str("</div>\n");
    }
    // For whoever wants the numbers out of the page; `<` cannot end the element that way.
    let json = serde_json::to_string(report).unwrap_or_default();
    let json = json.replace('<', "\\u003c");
    let _ = write!(
        out,
        "<script type=\"application/json\" id=\"data\">{json}</script>\n</body></html>\n"
    );
    out
}
