//! Plots as SVG, drawn by hand: bars with their spread, latency over percentiles, memory over
//! connections. Colours suit light and dark pages; every plot stands alone.

use std::fmt::Write;

use super::{Report, Scene, State};

const WIDTH: f64 = 720.0;
const LEFT: f64 = 110.0;
const RIGHT: f64 = 20.0;
const COLOURS: [&str; 8] = [
    "#888888", "#d9480f", "#1c7ed6", "#2f9e44", "#9c36b5", "#e8a200", "#0c8599", "#c2255c",
];

/// Every plot with its file name.
pub(super) fn all(report: &Report) -> Vec<(String, String)> {
    let scenes = report.scenes.iter();
    scenes
        .flat_map(|scene| {
            let drawn = of(scene).into_iter();
            drawn.map(|(name, _, svg)| (name, svg))
        })
        .collect()
}

/// File names and captions of a scene's plots.
pub(super) fn names(scene: &Scene) -> Vec<(String, String)> {
    let drawn = of(scene).into_iter();
    drawn.map(|(name, what, _)| (name, what)).collect()
}

/// File name, caption and drawing of each plot of a scene.
pub(super) fn of(scene: &Scene) -> Vec<(String, String, String)> {
    let mut plots = Vec::new();
    let stem: String = scene
        .name
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .collect();
    let headline = scene.columns.iter().find(|column| column.spread);
    if let Some(column) = headline {
        let what = format!("{}: {}", scene.name, column.title);
        if let Some(svg) = bars(scene, column.key, &what) {
            plots.push((format!("{stem}-cpu.svg"), what, svg));
        }
    }
    let what = format!("{}: latency, us, by percentile", scene.name);
    if let Some(svg) = latencies(scene, &what) {
        plots.push((format!("{stem}-latency.svg"), what, svg));
    }
    let what = format!("{}: resident MiB over connections", scene.name);
    if let Some(svg) = memory(scene, &what) {
        plots.push((format!("{stem}-memory.svg"), what, svg));
    }
    plots
}

fn colour(at: usize) -> &'static str {
    COLOURS[at % COLOURS.len()]
}

/// Begins a drawing, with its title.
fn begin(height: f64, title: &str) -> String {
    let title = escape(title);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{title}\" font-family=\"system-ui,sans-serif\" font-size=\"12\">\
         <style>text{{fill:#333}}.grid{{stroke:#ccc}}@media(prefers-color-scheme:dark){{text{{fill:#ddd}}.grid{{stroke:#555}}}}</style>\
         <text x=\"{LEFT}\" y=\"16\" font-weight=\"600\">{title}</text>"
    )
}

pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

fn bars(scene: &Scene, key: &str, title: &str) -> Option<String> {
    let rows: Vec<_> = scene
        .rows
        .iter()
        .enumerate()
        .filter_map(|(at, row)| Some((at, row, row.cells.get(key)?.value)))
        .collect();
    let most = rows.iter().map(|(.., value)| value.max).fold(0.0, f64::max);
    if most <= 0.0 {
        return None;
    }
    let mut out = begin(34.0 + 26.0 * rows.len() as f64, title);
    let scale = |value: f64| value.max(0.0) / most * (WIDTH - LEFT - RIGHT - 90.0);
    for (line, (at, row, value)) in rows.iter().enumerate() {
        let y = 28.0 + 26.0 * line as f64;
        let width = scale(value.median);
        let (least, greatest) = (LEFT + scale(value.min), LEFT + scale(value.max));
        let _ = write!(
            out,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>\
             <rect x=\"{LEFT}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"18\" fill=\"{}\"/>\
             <path d=\"M{least:.1} {:.1}H{greatest:.1}M{least:.1} {:.1}v8M{greatest:.1} {:.1}v8\" stroke=\"#222\" stroke-width=\"1.5\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\">{:.*}</text>",
            LEFT - 8.0,
            y + 13.0,
            escape(&row.name),
            colour(*at),
            y + 9.0,
            y + 5.0,
            y + 5.0,
            greatest.max(LEFT + width) + 6.0,
            y + 13.0,
            if value.median < 10.0 { 3 } else { 1 },
            value.median,
        );
    }
    out.push_str("</svg>\n");
    Some(out)
}

/// A line by its points, and who it is of.
struct Line<'a> {
    name: &'a str,
    colour: &'static str,
    points: Vec<(f64, f64)>,
}

/// Where lines are drawn: marks of both axes at places from 0 to 1.
struct Axes {
    across: Vec<(f64, String)>,
    up: Vec<(f64, String)>,
}

fn lines(title: &str, axes: &Axes, lines: &[Line<'_>]) -> String {
    const TOP: f64 = 28.0;
    const HEIGHT: f64 = 200.0;
    let (left, wide) = (60.0, WIDTH - 60.0 - 130.0);
    let mut out = begin(TOP + HEIGHT + 28.0, title);
    let x = |at: f64| left + at * wide;
    let y = |at: f64| TOP + (1.0 - at) * HEIGHT;
    for (at, label) in &axes.up {
        let _ = write!(
            out,
            "<path class=\"grid\" d=\"M{left} {:.1}h{wide}\"/><text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{label}</text>",
            y(*at),
            left - 6.0,
            y(*at) + 4.0
        );
    }
    for (at, label) in &axes.across {
        let _ = write!(
            out,
            "<path class=\"grid\" d=\"M{:.1} {TOP}v{HEIGHT}\"/><text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{label}</text>",
            x(*at),
            x(*at),
            TOP + HEIGHT + 16.0
        );
    }
    for (index, line) in lines.iter().enumerate() {
        let points: Vec<_> = line
            .points
            .iter()
            .map(|(across, up)| format!("{:.1},{:.1}", x(*across), y(*up)))
            .collect();
        let legend = TOP + 12.0 + 18.0 * index as f64;
        let _ = write!(
            out,
            "<polyline fill=\"none\" stroke=\"{0}\" stroke-width=\"2\" points=\"{1}\"/>\
             <rect x=\"{2:.1}\" y=\"{3:.1}\" width=\"12\" height=\"4\" fill=\"{0}\"/><text x=\"{4:.1}\" y=\"{5:.1}\">{6}</text>",
            line.colour,
            points.join(" "),
            WIDTH - 122.0,
            legend - 6.0,
            WIDTH - 104.0,
            legend,
            escape(line.name)
        );
    }
    out.push_str("</svg>\n");
    out
}

/// Latency over percentiles: each nine as wide as the one before, microseconds by powers of ten.
fn latencies(scene: &Scene, title: &str) -> Option<String> {
    let with = |(_, row): &(usize, &super::Row)| row.latencies.count() > 0;
    let rows: Vec<_> = scene.rows.iter().enumerate().filter(with).collect();
    let counts = rows.iter().map(|(_, row)| row.latencies.count());
    // As many nines as a sample can tell of.
    let nines = (counts.max()? as f64).log10().floor().clamp(2.0, 5.0);
    let across = |percent: f64| -(1.0 - percent / 100.0).log10() / nines;
    let percents: Vec<f64> = (0..=60_u32)
        .map(|step| 100.0 * (1.0 - 10_f64.powf(-f64::from(step) / 60.0 * nines)))
        .collect();
    let value = |row: &super::Row, percent| row.latencies.percentile(percent).max(1.0).log10();
    let lowest = rows
        .iter()
        .map(|(_, row)| value(row, 1.0))
        .fold(f64::MAX, f64::min);
    let highest = rows
        .iter()
        .map(|(_, row)| value(row, 100.0 * (1.0 - 10_f64.powf(-nines))))
        .fold(0.0, f64::max);
    let (low, high) = (lowest.floor(), highest.ceil().max(lowest.floor() + 1.0));
    let drawn: Vec<_> = rows
        .iter()
        .map(|(at, row)| Line {
            name: &row.name,
            colour: colour(*at),
            points: percents
                .iter()
                .map(|percent| {
                    let up = (value(row, *percent) - low) / (high - low);
                    (across(*percent), up.clamp(0.0, 1.0))
                })
                .collect(),
        })
        .collect();
    let marks = [0.0, 50.0, 90.0, 99.0, 99.9, 99.99, 99.999];
    let axes = Axes {
        across: marks
            .iter()
            .map(|mark| (across(*mark), format!("p{mark}")))
            .filter(|(at, _)| *at <= 1.0)
            .collect(),
        up: (low as i32..=high as i32)
            .map(|power| {
                let at = (f64::from(power) - low) / (high - low);
                (at, format!("{}", 10_f64.powi(power)))
            })
            .collect(),
    };
    Some(lines(title, &axes, &drawn))
}

fn memory(scene: &Scene, title: &str) -> Option<String> {
    let with =
        |(_, row): &(usize, &super::Row)| !row.memory.is_empty() && row.state != State::Direct;
    let rows: Vec<_> = scene.rows.iter().enumerate().filter(with).collect();
    let points = || rows.iter().flat_map(|(_, row)| &row.memory);
    let most = points().map(|(connections, _)| *connections).max()? as f64;
    let highest = points().map(|(_, bytes)| *bytes).max()? as f64 / f64::from(1 << 20);
    let high = (highest / 20.0).ceil().max(1.0) * 20.0;
    let drawn: Vec<_> = rows
        .iter()
        .map(|(at, row)| Line {
            name: &row.name,
            colour: colour(*at),
            points: row
                .memory
                .iter()
                .map(|(connections, bytes)| {
                    let mib = *bytes as f64 / f64::from(1 << 20);
                    (*connections as f64 / most, mib / high)
                })
                .collect(),
        })
        .collect();
    let fifths = || (0..=5).map(f64::from);
    let axes = Axes {
        across: fifths()
            .map(|i| (i / 5.0, format!("{:.0}", most * i / 5.0)))
            .collect(),
        up: fifths()
            .map(|i| (i / 5.0, format!("{:.0}", high * i / 5.0)))
            .collect(),
    };
    Some(lines(title, &axes, &drawn))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::report::table::tests::scene;

    #[test]
    fn a_scene_is_drawn_with_what_it_has() {
        let mut scene = scene();
        let plots = of(&scene);
        assert_eq!(plots.len(), 1, "neither latencies nor memory");
        let (name, _, svg) = &plots[0];
        assert_eq!(name, "keepalive-cpu.svg");
        assert!(
            svg.contains(">HAProxy</text>") && svg.contains(">12.1</text>"),
            "{svg}"
        );
        for millis in 1..200 {
            scene.rows[0]
                .latencies
                .record(Duration::from_millis(millis));
        }
        scene.rows[0].memory = vec![(100, 10 << 20), (500, 20 << 20)];
        let plots = of(&scene);
        let names: Vec<_> = plots.iter().map(|(name, ..)| name.as_str()).collect();
        assert_eq!(
            names,
            [
                "keepalive-cpu.svg",
                "keepalive-latency.svg",
                "keepalive-memory.svg"
            ]
        );
        for (name, _, svg) in plots {
            assert!(
                svg.starts_with("<svg") && svg.ends_with("</svg>\n"),
                "{name}"
            );
            assert!(
                !svg.contains("NaN") && !svg.contains("inf"),
                "{name}: {svg}"
            );
        }
    }
}
