//! What the rows mean.

use crate::{growth, measure, run::Run};
use anyhow::Result;
use clap::builder::PossibleValuesParser;

/// A figure of the table.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) what: &'static str,
    pub(crate) formula: &'static str,
    pub(crate) reach: Reach,
}

/// What a row is to reach.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Reach {
    AtMost(f64),
    AtLeast(f64),
    /// It is shown for what it explains.
    Anything,
}

/// Rows that are measured by the same runs.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) rows: &'static [Row],
    pub(crate) measure: Measure,
    /// Whether nothing else may run meanwhile.
    pub(crate) is_alone: bool,
    /// The most seeds that it is measured with.
    pub(crate) most_seeds: u64,
}

/// How all rows of a group are measured.
#[derive(Debug)]
pub(crate) enum Measure {
    /// By a run with each seed.
    Seeds(fn(Run) -> Result<Vec<f64>>),
    /// By the scenarios that are drawn by number.
    Anywhere,
}

/// The name for all rows of [`Measure::Anywhere`].
const ANYWHERE: &str = "anywhere";
/// The crowd takes minutes.
const CROWD_SEEDS: u64 = 1;

const fn row(name: &'static str, what: &'static str, formula: &'static str, reach: Reach) -> Row {
    Row { name, what, formula, reach }
}

use Reach::{Anything, AtLeast, AtMost};

/// The table.
static GROUPS: [Group; 16] = [
    Group {
        rows: &[
            row(
                "last_over_fluid_1k",
                "the last of 1,000 peers, over what is possible",
                "T / max(F/u_seed, F/d, N·F/(u_seed + Σu)), Kumar and Ross 2006",
                AtMost(1.08),
            ),
            row(
                "uplink_use",
                "how much of all uplinks carries the file until 95 % are done",
                "useful bytes until T_95 / ((u_seed + Σu) · T_95)",
                AtLeast(0.95),
            ),
            row(
                "seed_first_copy",
                "what the seed sends until every block is elsewhere too",
                "payload sent by the seed until then / F",
                AtMost(1.05),
            ),
            row(
                "jain",
                "how alike the times of equal peers are",
                "(Σt)² / (N·Σt²), Jain, Chiu and Hawe 1984",
                AtLeast(0.99),
            ),
            row(
                "overhead",
                "bytes between peers that are no new part of the file: control, heads, WebSocket headers, duplicates",
                "those / useful payload",
                AtMost(0.015),
            ),
            row("duplicates", "payload that was sent and not stored", "(sent − useful) / useful", AtMost(0.005)),
        ],
        measure: Measure::Seeds(measure::thousand),
        is_alone: false,
        most_seeds: u64::MAX,
    },
    Group {
        rows: &[row(
            "last_over_fluid_30",
            "a class room: 30 peers, 1 GiB, 100/100 Mbit/s",
            "as `last_over_fluid_1k`",
            AtMost(1.05),
        )],
        measure: Measure::Seeds(measure::class_room),
        is_alone: false,
        most_seeds: u64::MAX,
    },
    Group {
        rows: &[row(
            "last_over_fluid_10",
            "a small swarm: 10 peers, 32 MiB, 8/80 Mbit/s, 1 ms ± 0.4",
            "as `last_over_fluid_1k`",
            AtMost(1.12),
        )],
        measure: Measure::Seeds(measure::small),
        is_alone: false,
        most_seeds: u64::MAX,
    },
    Group {
        rows: &[row(
            "paper_2006",
            "1,000 peers with old lines: 100 MiB in blocks of 256 KiB, 0.4/1.5 Mbit/s, the seed 6 Mbit/s",
            "as `last_over_fluid_1k`; the setting of Bharambe, Herley and Padmanabhan 2006",
            AtMost(1.15),
        )],
        measure: Measure::Seeds(measure::paper_2006),
        is_alone: false,
        most_seeds: u64::MAX,
    },
    Group {
        rows: &[row(
            "fast_seed",
            "a seed that could serve everyone: 30 peers, 256 MiB, 20/100 Mbit/s, the seed 1 Gbit/s",
            "as `last_over_fluid_1k`",
            AtMost(1.10),
        )],
        measure: Measure::Seeds(measure::fast_seed),
        is_alone: false,
        most_seeds: u64::MAX,
    },
    Group {
        rows: &[
            row("small_1m", "60 peers, 1 MiB", "T / ideal time", AtMost(1.3)),
            row("small_1m_overhead", "the same", "as `overhead`", AtMost(0.06)),
        ],
        measure: Measure::Seeds(measure::small_1m),
        is_alone: false,
        most_seeds: u64::MAX,
    },
    Group {
        rows: &[
            row("small_4m", "30 peers, 4 MiB", "T / ideal time", AtMost(1.15)),
            row("small_4m_overhead", "the same", "as `overhead`", AtMost(0.04)),
        ],
        measure: Measure::Seeds(measure::small_4m),
        is_alone: false,
        most_seeds: u64::MAX,
    },
    Group {
        rows: &[row(
            "equal_links",
            "1,000 peers whose downlink is no faster than their uplink, over what is possible with blocks",
            "T / ((k + ⌊log2 N⌋) · block/u), Mundinger, Weber and Weiss 2008",
            AtMost(1.10),
        )],
        measure: Measure::Seeds(measure::equal_links),
        is_alone: false,
        most_seeds: u64::MAX,
    },
    Group {
        rows: &[row(
            "free_rider",
            "what a peer gets that serves nobody: 10 % of 500, the seed leaves after 1.05 F",
            "bytes that the median rider has when the median contributor is complete / F, which is the ratio of their rates",
            AtMost(0.20),
        )],
        measure: Measure::Seeds(measure::free_rider),
        is_alone: false,
        most_seeds: u64::MAX,
    },
    Group {
        rows: &[row(
            "free_rider_large_view",
            "the same, if it asks the tracker for everyone",
            "as `free_rider`; Sirivianos et al. 2007",
            AtMost(0.35),
        )],
        measure: Measure::Seeds(measure::free_rider_large_view),
        is_alone: false,
        most_seeds: u64::MAX,
    },
    Group {
        rows: &[row(
            "churn_30",
            "30 % of 1,000 vanish at random times within the fluid bound, noticed 10 s later; the last that stayed",
            "T / earliest t with t ≥ F/u_seed, F/d and ∫(uplinks present) ≥ Σ F (stayed) + Σ received (left)",
            AtMost(1.10),
        )],
        measure: Measure::Seeds(measure::churn),
        is_alone: false,
        most_seeds: u64::MAX,
    },
    Group {
        rows: &[
            row(
                "one_club",
                "the one club: peers that have all blocks but the same one; 16 MiB, for 10 F/u_seed twice as many come as \
                 the seed sends blocks, and each leaves after uploading one more block",
                "largest such group / peers present, mean over the second half, at λ = 2·u_seed/block, where a swarm \
                 whose peers leave at once grows for ever; Hajek and Zhu 2010",
                AtMost(0.20),
            ),
            row(
                "one_club_population",
                "whether that swarm grows",
                "mean population in the last quarter / in the second",
                Anything,
            ),
        ],
        measure: Measure::Seeds(measure::one_club),
        is_alone: false,
        most_seeds: u64::MAX,
    },
    Group {
        rows: &[
            row(
                "first_unchoke_p50_rtt",
                "50 peers join within 10 s when 200 peers are half done: until the first unchoke, median",
                "time from the join / 50 ms, the round trip between peers",
                AtMost(2.0),
            ),
            row("first_unchoke_p99_s", "the same, 99th percentile", "seconds from the join", AtMost(1.0)),
        ],
        measure: Measure::Seeds(measure::newcomers),
        is_alone: false,
        most_seeds: u64::MAX,
    },
    Group {
        rows: &[
            row("flash_10k", "ten times the crowd, joining within 10 s", "T(10,000) / T(1,000)", AtMost(1.05)),
            row(
                "flash_10k_cpu_s",
                "what that crowd costs on one core of this machine",
                "CPU seconds of the process",
                AtMost(180.0),
            ),
            row(
                "flash_10k_kib_per_peer",
                "the memory of a peer in that crowd",
                "growth of the peak resident memory / 10,000, in KiB",
                AtMost(96.0),
            ),
        ],
        measure: Measure::Seeds(measure::flash),
        is_alone: true,
        most_seeds: CROWD_SEEDS,
    },
    Group {
        rows: &[
            row(
                "have_growth",
                "a `have` with 1,000,000 blocks, of which 1,000 peers have a fiftieth each",
                "time / time with 10,000 blocks",
                AtMost(2.0),
            ),
            row(
                "pick_growth",
                "picking a block of a neighbour that has a random half, among as many",
                "time / time with 10,000 blocks",
                AtMost(2.0),
            ),
        ],
        measure: Measure::Seeds(growth::measure),
        is_alone: true,
        most_seeds: u64::MAX,
    },
    Group {
        rows: &[
            row(
                "anywhere_completes",
                "200 scenarios drawn by number: those in which everyone who stays completes",
                "their share",
                AtLeast(1.0),
            ),
            row("anywhere_p50", "how long the last took, the median scenario", "T / ideal time", AtMost(1.08)),
            row("anywhere_p90", "the same, 90th percentile", "as `anywhere_p50`", AtMost(1.20)),
            row("anywhere_worst", "the same, the worst", "as `anywhere_p50`", AtMost(1.6)),
            row(
                "anywhere_asked_p50",
                "the median, if each of the steps from one to all is asked for, as the tracker demands",
                "T / (ideal time + 2 · ⌈log2(N + 1)⌉ · latency)",
                Anything,
            ),
            row("anywhere_asked_p90", "the same, 90th percentile", "as `anywhere_asked_p50`", Anything),
            row("anywhere_overhead_p50", "the overhead, the median scenario", "as `overhead`", AtMost(0.03)),
            row("anywhere_overhead_p90", "the same, 90th percentile", "as `overhead`", AtMost(0.08)),
            row("anywhere_duplicates_p90", "the duplicates, 90th percentile", "as `duplicates`", AtMost(0.01)),
            row(
                "anywhere_repeated_p90",
                "of these, what is not lost with those who leave and lines that break: what came twice, 90th percentile",
                "payload that came although it had come before / useful",
                Anything,
            ),
        ],
        measure: Measure::Anywhere,
        is_alone: true,
        most_seeds: 1,
    },
];

/// All rows in their order.
pub(crate) fn all() -> impl Iterator<Item = &'static Row> {
    GROUPS.iter().flat_map(|group| group.rows)
}

/// All rows' names, and those of groups.
pub(crate) fn names() -> PossibleValuesParser {
    PossibleValuesParser::new(all().map(|row| row.name).chain([ANYWHERE]))
}

/// Whether a row is among those named; all are, if none is.
pub(crate) fn is_wanted(row: &Row, names: &[String]) -> bool {
    let is_meant = |name: &String| name == row.name || (name == ANYWHERE && row.is_anywhere());
    names.is_empty() || names.iter().any(is_meant)
}

/// The groups that measure these rows; all of them for none.
pub(crate) fn groups_of(names: &[String]) -> Vec<&'static Group> {
    GROUPS.iter().filter(|group| group.rows.iter().any(|row| is_wanted(row, names))).collect()
}

impl Row {
    /// Whether it is measured by all scenarios together, so that there is one value and no worst seed.
    pub(crate) fn is_anywhere(&self) -> bool {
        let group = GROUPS.iter().find(|group| group.rows.iter().any(|row| row.name == self.name));
        group.is_some_and(|group| matches!(group.measure, Measure::Anywhere))
    }
}

impl Reach {
    pub(crate) fn is_reached(self, value: f64) -> bool {
        match self {
            Self::AtMost(limit) => value <= limit,
            Self::AtLeast(limit) => value >= limit,
            Self::Anything => true,
        }
    }

    /// The one of the values that is furthest on the wrong side.
    pub(crate) fn worst(self, values: &[f64]) -> f64 {
        match self {
            Self::AtMost(_) | Self::Anything => values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            Self::AtLeast(_) => values.iter().copied().fold(f64::INFINITY, f64::min),
        }
    }
}
