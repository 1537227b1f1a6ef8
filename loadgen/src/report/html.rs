//! One HTML page that needs nothing else: plots as SVG within it, no scripts, no fonts, no links.
//!
//! Pure. Everything that came from outside is escaped.

use std::fmt::Write as _;

use super::plot::{Axis, Plot, Series};
use super::summary::{Curve, Summary};
use super::table;

const STYLE: &str = "body{font:15px/1.45 system-ui,sans-serif;max-width:960px;margin:2em auto;padding:0 1em;color:#222}\
pre{background:#f6f6f6;padding:1em;overflow-x:auto;font:12px/1.3 monospace}svg{max-width:100%;height:auto}\
table{border-collapse:collapse}td{padding:2px 12px 2px 0;vertical-align:top}.bad{color:#b00}h2{margin-top:2em}";

/// A page being written.
#[derive(Debug)]
pub struct Page {
    html: String,
}

impl Page {
    /// An empty page.
    pub fn new(title: &str) -> Self {
        let title = escaped(title);
        Self {
            html: format!(
                "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title>\
                 <style>{STYLE}</style></head><body>\n<h1>{title}</h1>\n"
            ),
        }
    }

    /// A heading.
    pub fn heading(&mut self, text: &str) {
        let _ = writeln!(self.html, "<h2>{}</h2>", escaped(text));
    }

    /// A line that must not be overlooked.
    pub fn warning(&mut self, text: &str) {
        let _ = writeln!(self.html, "<p class=\"bad\">{}</p>", escaped(text));
    }

    /// Text in columns.
    pub fn preformatted(&mut self, text: &str) {
        let _ = writeln!(self.html, "<pre>{}</pre>", escaped(text));
    }

    /// A plot, if there is anything to show.
    pub fn plot(&mut self, plot: &Plot) {
        if let Some(svg) = plot.to_svg() {
            let _ = writeln!(self.html, "<figure>{svg}</figure>");
        }
    }

    /// Names and values.
    pub fn facts(&mut self, facts: &[(String, String)]) {
        self.html.push_str("<table>\n");
        for (name, value) in facts {
            let (name, value) = (escaped(name), escaped(value));
            let _ = writeln!(self.html, "<tr><td>{name}</td><td>{value}</td></tr>");
        }
        self.html.push_str("</table>\n");
    }

    /// The whole page.
    pub fn finish(mut self) -> String {
        self.html.push_str("</body></html>\n");
        self.html
    }
}

/// The page about one run, or several of the same.
pub fn of_runs(runs: &[Summary]) -> String {
    let mut page = Page::new("corelane-loadgen run");
    for (index, run) in runs.iter().enumerate() {
        if runs.len() > 1 {
            page.heading(&format!("Run {} of {}", index + 1, runs.len()));
        }
        add_run(&mut page, run);
    }
    page.finish()
}

/// Adds what there is to say about one run.
pub fn add_run(page: &mut Page, run: &Summary) {
    if !run.valid {
        page.warning("These numbers are not valid: see the remarks.");
    }
    if !run.verification.clean {
        page.warning("Verification failed.");
    }
    page.preformatted(&table::render(run));
    page.plot(&percentiles(&[("", &run.curves)]));
    page.plot(&over_time(run, Axis::Rate));
    page.plot(&over_time(run, Axis::Latency));
    page.heading("Machine and limits");
    page.facts(&facts_of(&serde_json::json!({
        "host": run.host,
        "limits": run.limits,
        "processors": run.processors,
    })));
    page.heading("Settings");
    page.facts(&facts_of(
        &serde_json::to_value(&run.settings).unwrap_or_default(),
    ));
}

/// Latency over percentile, for one run or several with a name each.
pub fn percentiles(runs: &[(&str, &super::summary::Curves)]) -> Plot {
    let series = |name: String, curve: &Curve| Series {
        name,
        points: curve
            .iter()
            .filter(|(quantile, _)| *quantile < 1.0)
            .map(|(quantile, us)| (1.0 / (1.0 - quantile), *us))
            .collect(),
    };
    Plot {
        title: "Latency by percentile".to_owned(),
        x: Axis::Percentile,
        y: Axis::Latency,
        series: runs
            .iter()
            .flat_map(|(name, curves)| {
                [
                    series(
                        format!("{name} acknowledged").trim().to_owned(),
                        &curves.ack,
                    ),
                    series(
                        format!("{name} end to end").trim().to_owned(),
                        &curves.end_to_end,
                    ),
                    series(
                        format!("{name} service time").trim().to_owned(),
                        &curves.service_time,
                    ),
                ]
            })
            .filter(|series| !series.points.is_empty())
            .collect(),
    }
}

fn over_time(run: &Summary, y: Axis) -> Plot {
    let line = |name: &str, value: &dyn Fn(&super::timeline::Point) -> Option<f64>| Series {
        name: name.to_owned(),
        points: run
            .timeline
            .iter()
            .filter_map(|point| Some((point.at_s, value(point)?)))
            .collect(),
    };
    let (title, series) = if y == Axis::Rate {
        let lines = vec![
            line("produced", &|point| Some(point.produced_per_second)),
            line("consumed", &|point| Some(point.consumed_per_second)),
        ];
        ("Throughput over time", lines)
    } else {
        let lines = vec![
            line("acknowledged p50", &|point| point.ack_p50_us),
            line("acknowledged p99", &|point| point.ack_p99_us),
            line("acknowledged max", &|point| point.ack_max_us),
            line("end to end p99", &|point| point.end_to_end_p99_us),
        ];
        ("Latency over time", lines)
    };
    Plot {
        title: title.to_owned(),
        x: Axis::Seconds,
        y,
        series,
    }
}

/// The leaves of a JSON value, each with its path.
fn facts_of(value: &serde_json::Value) -> Vec<(String, String)> {
    fn add(path: &str, value: &serde_json::Value, facts: &mut Vec<(String, String)>) {
        match value {
            serde_json::Value::Object(fields) => {
                for (name, value) in fields {
                    let path = if path.is_empty() {
                        name.clone()
                    } else {
                        format!("{path}.{name}")
                    };
                    add(&path, value, facts);
                }
            }
            serde_json::Value::Null => {}
            serde_json::Value::String(text) => facts.push((path.to_owned(), text.clone())),
            other => facts.push((path.to_owned(), other.to_string())),
        }
    }
    let mut facts = Vec::new();
    add("", value, &mut facts);
    facts
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_from_outside_is_escaped() {
        let mut page = Page::new("a & b");
        page.warning("<script>alert(1)</script>");
        page.facts(&[("\"x\"".to_owned(), "<y>".to_owned())]);
        let html = page.finish();
        assert!(html.contains("<title>a &amp; b</title>"));
        assert!(!html.contains("<script>") && !html.contains("<y>"));
        assert!(html.ends_with("</body></html>\n"));
    }

    #[test]
    fn facts_are_the_leaves() {
        let value = serde_json::json!({"a": {"b": 1, "c": null}, "d": "x", "e": [1, 2]});
        let facts = facts_of(&value);
        let expected = [("a.b", "1"), ("d", "x"), ("e", "[1,2]")];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(facts, expected);
    }
}
