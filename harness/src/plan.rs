//! What is measured: the cells, and those that a transport cannot fill.

use std::fmt;
use std::str::FromStr;

use clap::ValueEnum;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::message::WORD_BYTES;
use crate::transport::{Transport, capacity};

pub(crate) const SIZES: [usize; 4] = [8, 64, 1024, 16384];
pub(crate) const TOPOLOGIES: [&str; 5] = ["1p1c", "1p2c", "2p1c", "2p2c", "4p4c"];
const SIZE_MAX: usize = 64 << 20;
/// Payload that a channel may have places for.
const CHANNEL_MAX: usize = 1 << 30;
const SIDE_MAX: u16 = 32;
const RTT_SIZE: usize = 64;
const RTT_TOPOLOGY: Topology = Topology { producers: 1, consumers: 1 };

/// One number of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Cell {
    pub(crate) transport: &'static Transport,
    pub(crate) topology: Topology,
    pub(crate) size: usize,
    pub(crate) mode: Mode,
    /// What a transport makes of it is in the report.
    #[serde(skip)]
    pub(crate) capacity: usize,
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Cell { transport, topology, size, mode, .. } = self;
        write!(f, "{} {} {topology} {size} B", mode.name(), transport.name)
    }
}

/// All the cells that share everything but the transport: only these are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Row {
    /// One way, or there and back.
    pub mode: Mode,
    /// How many take part.
    pub topology: Topology,
    /// Of each message, in bytes.
    pub size: usize,
    /// So many messages a queue has places for, if that is ours to choose.
    pub capacity: usize,
}

impl Row {
    pub(crate) fn cell(self, transport: &'static Transport) -> Cell {
        let Row { mode, topology, size, capacity } = self;
        Cell { transport, topology, size, mode, capacity }
    }
}

impl Cell {
    pub(crate) fn row(&self) -> Row {
        let Cell { mode, topology, size, capacity, .. } = *self;
        Row { mode, topology, size, capacity }
    }

    /// A round trip has a process on either side, as 1p1c has.
    /// Those that need a CPU.
    pub(crate) fn processes(&self) -> usize {
        if self.transport.one_thread {
            return 1;
        }
        usize::from(self.topology.producers) + usize::from(self.topology.consumers)
    }
}

/// What is measured.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, ValueEnum, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// one way, as fast as the transport takes it: ns per message
    Stream,
    /// there and back, one message at a time: ns per round trip
    Rtt,
}

impl Mode {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Mode::Stream => "stream",
            Mode::Rtt => "rtt",
        }
    }
}

/// `NpMc`: how many producers and how many consumers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Topology {
    /// At least one.
    pub producers: u16,
    /// At least one.
    pub consumers: u16,
}

impl Topology {
    /// More than one on one side.
    pub fn is_shared(self) -> bool {
        self.producers > 1 || self.consumers > 1
    }
}

impl fmt::Display for Topology {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}p{}c", self.producers, self.consumers)
    }
}

impl Serialize for Topology {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Topology {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl FromStr for Topology {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let side = |number: &str| {
            let plain = number.bytes().all(|byte| byte.is_ascii_digit());
            number.parse().ok().filter(|side| plain && (1..=SIDE_MAX).contains(side))
        };
        let parsed = text.strip_suffix('c').and_then(|rest| rest.split_once('p'));
        parsed
            .and_then(|(producers, consumers)| {
                Some(Topology { producers: side(producers)?, consumers: side(consumers)? })
            })
            .ok_or_else(|| {
                format!(
                    "allowed: NpMc with N and M from 1 to {SIDE_MAX}, for example 1p1c, 1p2c, 4p4c"
                )
            })
    }
}

pub(crate) fn parse_size(text: &str) -> Result<usize, String> {
    let allowed =
        |size: &usize| (WORD_BYTES..=SIZE_MAX).contains(size) && size.is_multiple_of(WORD_BYTES);
    text.parse().ok().filter(allowed).ok_or_else(|| {
        format!("allowed: multiples of {WORD_BYTES} from {WORD_BYTES} to {SIZE_MAX} bytes")
    })
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Unavailable {
    #[serde(flatten)]
    pub(crate) cell: Cell,
    pub(crate) why: String,
}

#[derive(Debug)]
pub(crate) struct Plan {
    /// In the order of the report.
    pub(crate) transports: Vec<&'static Transport>,
    pub(crate) cells: Vec<Cell>,
    pub(crate) unavailable: Vec<Unavailable>,
}

/// What the user asked for; what was left out is everything.
#[derive(Clone, Debug, Default)]
pub(crate) struct Selection {
    /// Names of the table.
    pub(crate) transports: Vec<String>,
    pub(crate) topologies: Vec<Topology>,
    pub(crate) sizes: Vec<usize>,
    pub(crate) modes: Vec<Mode>,
    pub(crate) capacity: Option<usize>,
}

impl Plan {
    /// Cells in the order of the report: by mode, topology, size, transport.
    pub(crate) fn new(selection: &Selection, table: &[&'static Transport]) -> Plan {
        let named = &selection.transports;
        let chosen = table.iter().filter(|transport| {
            named.is_empty() || named.iter().any(|name| *name == transport.name)
        });
        let transports = chosen.copied().collect();
        let mut plan = Plan { transports, cells: Vec::new(), unavailable: Vec::new() };
        for row in rows(selection) {
            for &transport in &plan.transports {
                if named.is_empty() && !(transport.is_default)(row.size) {
                    continue;
                }
                let cell = row.cell(transport);
                match too_large(&row, transport).or_else(|| (transport.unavailable)(&row)) {
                    None => plan.cells.push(cell),
                    Some(why) => plan.unavailable.push(Unavailable { cell, why }),
                }
            }
        }
        plan
    }
}

/// Places that nobody asked for are never so many.
fn too_large(row: &Row, transport: &Transport) -> Option<String> {
    let places = (transport.capacity)(row)?;
    (places.saturating_mul(row.size) > CHANNEL_MAX).then(|| {
        let mebibytes = CHANNEL_MAX >> 20;
        format!("{places} places for {} bytes each are more than {mebibytes} MiB", row.size)
    })
}

/// Round trips: with one process on either side, at 64 B or whatever sizes were asked for.
fn rows(selection: &Selection) -> Vec<Row> {
    let topologies = or_default(&selection.topologies, &default_topologies());
    let sizes = or_default(&selection.sizes, &SIZES);
    let rtt_sizes = or_default(&selection.sizes, &[RTT_SIZE]);
    let mut rows = Vec::new();
    for mode in or_default(&selection.modes, Mode::value_variants()) {
        for &topology in &topologies {
            let sizes = match mode {
                Mode::Stream => &sizes[..],
                Mode::Rtt if topology == RTT_TOPOLOGY => &rtt_sizes,
                Mode::Rtt => &[],
            };
            rows.extend(sizes.iter().map(|&size| Row {
                mode,
                topology,
                size,
                capacity: selection.capacity.unwrap_or_else(|| capacity(size)),
            }));
        }
    }
    rows
}

fn default_topologies() -> Vec<Topology> {
    TOPOLOGIES.iter().map(|text| text.parse().expect("the defaults are valid")).collect()
}

/// Without repetitions, in the order of the defaults' own ordering.
fn or_default<T: Copy + Ord>(chosen: &[T], default: &[T]) -> Vec<T> {
    let mut values = if chosen.is_empty() { default.to_vec() } else { chosen.to_vec() };
    values.sort_unstable();
    values.dedup();
    values
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::BUILT_IN;

    fn plan(selection: &Selection) -> Plan {
        Plan::new(selection, &BUILT_IN.iter().collect::<Vec<_>>())
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn topologies_are_read_and_written_alike() {
        for text in TOPOLOGIES {
            assert_eq!(text.parse::<Topology>().unwrap().to_string(), text);
        }
        for text in ["", "1p", "p1c", "0p1c", "1p0c", "33p1c", "1c1p", "+1p1c", "1p1c "] {
            assert!(text.parse::<Topology>().unwrap_err().contains("1 to 32"), "{text:?}");
        }
    }

    #[test]
    fn sizes_are_whole_words() {
        assert_eq!(parse_size("8"), Ok(8));
        assert_eq!(parse_size("67108864"), Ok(64 << 20));
        for text in ["0", "7", "12", "67108872", "-8", "x", ""] {
            assert!(parse_size(text).unwrap_err().contains("multiples of 8"), "{text:?}");
        }
    }

    #[test]
    fn the_default_plan_has_every_cell_once_measured_or_explained() {
        let default = plan(&Selection::default());
        assert_eq!(default.cells.len() + default.unavailable.len(), 6 * 5 * 4 + 6 + 6);
        assert_eq!(default.unavailable.len(), 2 * 4 * 4 + 2 * 4);
        assert_eq!(default.cells.iter().filter(|cell| cell.mode == Mode::Rtt).count(), 7);
    }

    #[test]
    fn an_unbounded_queue_is_shown_once_and_the_others_when_asked_for() {
        let default = plan(&Selection::default());
        let ours = default.cells.iter().filter(|cell| cell.transport.is_ours());
        let more: Vec<_> = ours.filter(|cell| !cell.transport.is_reference()).collect();
        assert_eq!(more.len(), 5 + 1);
        let one = |cell: &&Cell| cell.transport.name == "shmq-unbounded" && cell.size == 64;
        assert!(more.iter().all(one));
        let transports = names(&["shmq-unbounded", "shmq-ref", "shmq-loan"]);
        let asked = plan(&Selection { transports, ..Selection::default() });
        assert_eq!(asked.cells.len(), 3 * 5 * 4 - 2 * 5 + 3);
    }

    #[test]
    fn a_selection_narrows_and_repetitions_do_not_count() {
        let selection = Selection {
            transports: names(&["tcp", "pipe", "tcp"]),
            topologies: vec!["1p1c".parse().unwrap()],
            sizes: vec![1024, 1024],
            ..Selection::default()
        };
        let cells: Vec<String> = plan(&selection).cells.iter().map(Cell::to_string).collect();
        let expected = ["stream pipe 1p1c 1024 B", "stream tcp 1p1c 1024 B"];
        assert_eq!(cells[..2], expected);
        assert_eq!(cells[2..], ["rtt pipe 1p1c 1024 B", "rtt tcp 1p1c 1024 B"]);
    }

    #[test]
    fn a_chosen_capacity_is_that_of_all_who_have_one_unless_it_takes_too_much_memory() {
        let selection = Selection {
            transports: names(&["shmq", "pipe"]),
            topologies: vec![RTT_TOPOLOGY],
            sizes: vec![8, SIZE_MAX],
            modes: vec![Mode::Stream],
            capacity: Some(17),
        };
        let plan = plan(&selection);
        let capacity = |cell: &Cell| (cell.transport.capacity)(&cell.row());
        let measured: Vec<_> = plan
            .cells
            .iter()
            .map(|cell| (cell.transport.name, cell.size, capacity(cell)))
            .collect();
        assert_eq!(measured, [("shmq", 8, Some(17)), ("pipe", 8, None), ("pipe", SIZE_MAX, None)]);
        let [refused] = &plan.unavailable[..] else { panic!("{:?}", plan.unavailable) };
        assert!(refused.why.contains("17 places for 67108864 bytes"), "{}", refused.why);
    }
}
