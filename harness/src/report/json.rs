//! The report for programs: schema 1, stable keys.

use super::{Exporter, Report};
use crate::error::{Error, Result};

#[derive(Debug)]
pub(crate) struct Json;

impl Exporter for Json {
    fn format(&self) -> &'static str {
        "json"
    }

    fn serialise(&self, report: &Report) -> Result<Vec<u8>> {
        let mut bytes = serde_json::to_vec_pretty(report).map_err(|error| Error::Serialise {
            format: self.format(),
            reason: error.to_string(),
        })?;
        bytes.push(b'\n');
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    #[test]
    fn the_contract() {
        let bytes = Json.serialise(super::super::tests::example()).unwrap();
        let report: Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(report["schema"], 1);
        let cell = &report["cells"][1];
        assert_eq!(cell["transport"], "pipe");
        assert_eq!(cell["topology"], "1p1c");
        assert_eq!(cell["mode"], "stream");
        assert_eq!((&cell["size"], &cell["unit"]), (&8.into(), &"ns".into()));
        assert_eq!((&cell["rounds"], &cell["verified"]), (&3.into(), &true.into()));
        assert_eq!(cell["median"], 100.0);
        assert_eq!(cell["ratio"]["median"], 5.0);
        assert!(cell["low"].is_number() && cell["high"].is_number());
        assert!(report["unavailable"][0]["why"].is_string());
        assert_eq!(report["failed"][0]["why"], "lost");
        let cells = report["cells"].as_array().unwrap();
        let rtt = cells.iter().find(|cell| cell["mode"] == "rtt").unwrap();
        for percentile in ["p50", "p90", "p99", "p99_9", "max"] {
            assert!(rtt["percentiles"][percentile].is_number(), "{percentile}");
        }
    }
}
