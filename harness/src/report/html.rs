//! The report as one page: charts in inline SVG, no script, nothing loaded from elsewhere.

use std::fmt::Write;

use super::table::{one_process, ratio, reasons, title, without_number};
use super::units::duration;
use super::{Entry, Exporter, Report, chart};
use crate::error::Result;
use crate::plan::{Mode, Topology};
use crate::stats;

const STYLE: &str = include_str!("style.css");

#[derive(Debug)]
pub(crate) struct Html;

impl Exporter for Html {
    fn format(&self) -> &'static str {
        "html"
    }

    fn serialise(&self, report: &Report) -> Result<Vec<u8>> {
        let mut page = String::new();
        head(&mut page, report);
        warnings(&mut page, report);
        for (mode, topology) in report.groups() {
            group(&mut page, report, mode, topology);
        }
        gaps(&mut page, report);
        environment(&mut page, report);
        page.push_str("</main>\n</body>\n</html>\n");
        Ok(page.into_bytes())
    }
}

fn head(page: &mut String, report: &Report) {
    let env = &report.env;
    let _ = write!(
        page,
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>shmq: transports compared</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n\
         <main>\n<h1>shmq: transports compared</h1>\n\
         <p>Real processes on one machine ({}, {} CPUs, {}), {}. Points are medians of {} rounds, \
         bars their {}; lower is better, the axes are logarithmic. \
         Ratios are times relative to shmq within the same round: above 1 shmq is faster. \
         All counts and checksums were verified.</p>\n<p><code>{}</code></p>\n",
        escape(env.cpu_model.as_deref().unwrap_or("unknown CPU")),
        env.cores_allowed,
        escape(&env.kernel),
        escape(&env.date),
        env.rounds,
        match stats::interval(env.rounds) {
            "range" => "ranges",
            _ => "95&nbsp;% bootstrap intervals",
        },
        escape(&env.command),
    );
    if let Some(note) = one_process(report) {
        let _ = writeln!(page, "<p>{}</p>", escape(&note));
    }
}

fn warnings(page: &mut String, report: &Report) {
    if report.warnings.is_empty() {
        return;
    }
    page.push_str("<ul class=\"warnings\">\n");
    for warning in &report.warnings {
        let _ = writeln!(page, "<li>{}</li>", escape(&warning.to_string()));
    }
    page.push_str("</ul>\n");
}

fn group(page: &mut String, report: &Report, mode: Mode, topology: Topology) {
    let title = title(report, mode, topology);
    let _ = writeln!(page, "<section>\n<h2>{}</h2>", escape(&title));
    page.push_str(&chart::chart(report, mode, topology, &title));
    page.push_str("<details><summary>Numbers</summary>\n");
    table(page, report, mode, topology);
    page.push_str("</details>\n</section>\n");
}

/// One line per size and transport.
fn table(page: &mut String, report: &Report, mode: Mode, topology: Topology) {
    let headings = match mode {
        Mode::Stream => ["messages/s", "MiB/s", "CPU per message", "switches per 1000"],
        Mode::Rtt => ["p90", "p99", "p99.9", "max"],
    };
    page.push_str("<div class=\"wide\"><table>\n<tr>");
    for heading in ["size", "transport", "median", "interval", "× shmq"].iter().chain(&headings) {
        let _ = write!(page, "<th>{heading}</th>");
    }
    page.push_str("</tr>\n");
    for size in report.sizes(mode, topology) {
        for transport in report.transports() {
            let entry = report.entry(transport, topology, size, mode);
            if matches!(entry, Entry::Absent) {
                continue;
            }
            let _ = write!(page, "<tr><td>{size} B</td><td>{}</td>", transport.name);
            for text in numbers(&entry) {
                let _ = write!(page, "<td>{}</td>", escape(&text));
            }
            page.push_str("</tr>\n");
        }
    }
    page.push_str("</table></div>\n");
}

fn numbers(entry: &Entry<'_>) -> Vec<String> {
    let Entry::Measured(cell) = entry else {
        return vec![without_number(entry).into()];
    };
    let time = cell.time;
    let interval = format!("{} to {}", duration(time.low), duration(time.high));
    let mut texts = vec![duration(time.median), interval, ratio(cell)];
    texts.extend(match cell.percentiles {
        Some(trips) => [trips.p90, trips.p99, trips.p99_9, trips.max].map(|ns| duration(ns as f64)),
        None => [
            format!("{:.0}", cell.messages_per_s),
            format!("{:.0}", cell.mib_per_s),
            duration(cell.cpu_ns_per_message),
            format!("{:.2}", cell.voluntary_switches_per_1000 + cell.involuntary_switches_per_1000),
        ],
    });
    texts
}

fn gaps(page: &mut String, report: &Report) {
    if !report.unavailable.is_empty() {
        page.push_str("<section>\n<h2>Not available</h2>\n<ul>\n");
        for (why, whose) in reasons(report) {
            let _ = writeln!(page, "<li>{}: {}</li>", escape(&whose), escape(&why));
        }
        page.push_str("</ul>\n</section>\n");
    }
    if !report.failed.is_empty() {
        page.push_str("<section>\n<h2>Failed</h2>\n<ul class=\"warnings\">\n");
        for failed in &report.failed {
            let cell = failed.cell.to_string();
            let _ = writeln!(page, "<li>{}: {}</li>", escape(&cell), escape(&failed.why));
        }
        page.push_str("</ul>\n</section>\n");
    }
}

/// Every field of the environment, as it stands in the JSON.
fn environment(page: &mut String, report: &Report) {
    page.push_str("<section>\n<h2>Environment</h2>\n<table class=\"environment\">\n");
    let fields = serde_json::to_value(&report.env).unwrap_or_default();
    for (name, value) in fields.as_object().into_iter().flatten() {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let name = name.replace('_', " ");
        let _ = writeln!(page, "<tr><th>{name}</th><td>{}</td></tr>", escape(&text));
    }
    page.push_str("</table>\n</section>\n");
}

pub(crate) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page() -> String {
        String::from_utf8(Html.serialise(super::super::tests::example()).unwrap()).unwrap()
    }

    #[test]
    fn the_page_needs_nothing_from_elsewhere() {
        let page = page();
        for reference in ["http:", "https:", "src=", "href=", "url(", "@import", "<script"] {
            assert!(!page.contains(reference), "{reference}");
        }
    }

    #[test]
    fn the_page_has_a_chart_and_a_table_for_every_group() {
        let page = page();
        assert_eq!(page.matches("<svg").count(), 6);
        assert_eq!(page.matches("</svg>").count(), 6);
        assert_eq!(page.matches("<details>").count(), 6);
        assert!(page.contains("prefers-color-scheme: dark"));
        assert!(page.contains("<title>shmq: transports compared</title>"));
    }

    #[test]
    fn what_the_user_typed_is_text() {
        let page = page();
        assert!(page.contains("--out &lt;b&gt;&amp;&quot;here&quot;"));
        assert!(!page.contains("<b>"));
    }
}
