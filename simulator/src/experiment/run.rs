//! One run.

use super::{
    Afterwards, At95, Fetcher, FirstCopy, Outcome, Role, Sample, Scenario, View,
    plan::{Break, Planned},
};
use crate::{Behaviour, File, Line, Network, queue::Queue};
use protocol::Bitfield;
use rand::{SeedableRng as _, rngs::Xoshiro256PlusPlus};
use std::time::Duration;

/// Keeps what a run draws apart from what its network draws.
const DRAWN: u64 = 0x5eed;

/// What is to be done at a moment.
enum Action {
    Join(Planned),
    Leave(usize),
    Break { of: usize, lasting: Duration },
    Sample,
}

struct Run<'a> {
    scenario: &'a Scenario,
    blocks: u32,
    network: Network,
    rng: Xoshiro256PlusPlus,
    agenda: Queue<Action>,
    /// Those that are complete and leave when they have given so many bytes.
    dwelling: Vec<(usize, u64)>,
    /// How many the run waits for, and how many of these are complete.
    awaited: usize,
    complete: usize,
    newcomers_planned: bool,
    /// When it is given up.
    patience: Duration,
    outcome: Outcome,
}

impl Scenario {
    /// Runs it. The same seed gives the same outcome.
    ///
    /// # Panics
    /// If the file is another than [`Scenario::file`] makes, or [`Scenario::check`] fails.
    pub fn run(&self, file: &File, seed: u64) -> Outcome {
        assert_eq!(self.check(), Ok(()), "the scenario must be checked");
        assert_eq!(file.manifest.geometry().size(), self.size, "the file must be the scenario's");
        let mut run = Run::new(self, file, seed);
        while !run.is_over() {
            run.step();
        }
        run.finish()
    }
}

impl<'a> Run<'a> {
    fn new(scenario: &'a Scenario, file: &File, seed: u64) -> Self {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed ^ DRAWN);
        let mut network = Network::new(file.clone(), seed);
        if let Some(relay) = scenario.relay {
            network.limit_relay(relay);
        }
        let blocks = file.manifest.geometry().blocks();
        network.refuse(scenario.refused);
        for _ in 0..scenario.seeds {
            let line = scenario.seed_line(&mut rng);
            network.add(scenario.config.clone(), Bitfield::full(blocks), line, Behaviour::Honest);
        }

        let mut agenda = Queue::new();
        let first = scenario.first_peers(&mut rng);
        let awaited = first.iter().filter(|planned| planned.role.is_awaited()).count();
        let arrival = scenario.next_arrival(0, network.now(), &mut rng);
        for planned in first.into_iter().chain(arrival) {
            agenda.plan(planned.at, Action::Join(planned));
        }
        agenda.plan(network.now(), Action::Sample);
        let mut run = Self {
            scenario,
            blocks,
            network,
            rng,
            agenda,
            dwelling: Vec::new(),
            awaited: awaited + scenario.newcomers.map_or(0, |newcomers| newcomers.peers),
            complete: 0,
            newcomers_planned: scenario.newcomers.is_none(),
            patience: scenario.patience(),
            outcome: Outcome::default(),
        };
        for seed in 0..scenario.seeds {
            let breaks = scenario.breaks(&mut run.rng);
            run.plan_breaks(seed, &breaks);
        }
        run
    }

    fn is_over(&mut self) -> bool {
        let now = self.network.now().since_start();
        if let Some(arrivals) = self.scenario.arrivals {
            return now >= arrivals.lasting;
        }
        self.outcome.gave_up = now >= self.patience;
        self.outcome.gave_up || self.complete >= share_of(self.scenario.until, self.awaited)
    }

    /// Goes on to what happens next, in the network or by the plan.
    fn step(&mut self) {
        let planned = self.agenda.next_at().filter(|&at| self.network.next_at().is_none_or(|next| next > at));
        match planned {
            None => {
                self.network.step();
            }
            Some(at) => {
                self.network.step_before(at);
                if let Some((_, action)) = self.agenda.next() {
                    self.act(action);
                }
            }
        }
        for number in self.network.take_wanting() {
            self.ask_for_peers(number);
        }
        self.note_completions();
        self.note_first_copy();
        self.let_go();
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Join(planned) => self.join(planned),
            Action::Leave(number) => self.leave(number, self.scenario.noticed_after),
            Action::Break { of, lasting } => self.network.interrupt(of, lasting),
            Action::Sample => {
                self.sample();
                self.agenda.plan(self.network.now() + self.scenario.sample_every, Action::Sample);
            }
        }
    }

    fn join(&mut self, planned: Planned) {
        let Planned { role, line, stays, breaks, .. } = planned;
        let scenario = self.scenario;
        let have = Bitfield::empty(self.blocks);
        let number = self.network.add(role.config(scenario), have, line, role.behaviour(scenario));
        let Line { up, down, .. } = line;
        self.outcome.fetchers.push(Fetcher { role, up, down, ..Fetcher::default() });
        self.ask_for_peers(number);
        self.plan_breaks(number, &breaks);
        if let Some(stays) = stays {
            self.agenda.plan(self.network.now() + stays, Action::Leave(number));
        }
        if role == Role::Arrival
            && let Some(next) = scenario.next_arrival(self.outcome.fetchers.len(), self.network.now(), &mut self.rng)
        {
            self.agenda.plan(next.at, Action::Join(next));
        }
    }

    fn plan_breaks(&mut self, of: usize, breaks: &[Break]) {
        for Break { after, lasting } in breaks {
            self.agenda.plan(self.network.now() + *after, Action::Break { of, lasting: *lasting });
        }
    }

    /// The one of those that fetch who has this number; the seeds have the first ones.
    fn fetcher(&mut self, number: usize) -> Option<&mut Fetcher> {
        self.outcome.fetchers.get_mut(number.checked_sub(self.scenario.seeds)?)
    }

    fn ask_for_peers(&mut self, number: usize) {
        let is_rider = self.fetcher(number).is_some_and(|fetcher| fetcher.role == Role::FreeRider);
        let sees_everyone = is_rider && self.scenario.view == View::Everyone;
        self.network.ask_for_peers(number, if sees_everyone { self.scenario.peers } else { self.scenario.asks_for });
    }

    fn leave(&mut self, number: usize, noticed_after: Duration) {
        let Some(node) = self.network.remove(number, noticed_after) else { return };
        let now = Some(self.network.now());
        match self.fetcher(number) {
            Some(fetcher) => (fetcher.record, fetcher.left) = (node.record, now),
            None => {
                self.outcome.seeds.push(node.record);
                self.outcome.seeds_left = now;
            }
        }
    }

    fn note_completions(&mut self) {
        for number in self.network.take_completed() {
            if let Afterwards::LeaveAfter { blocks } = self.scenario.afterwards
                && let Some(node) = self.network.node(number)
            {
                let block_size = u64::from(self.scenario.block_size().bytes());
                self.dwelling.push((number, node.record.delivered + u64::from(blocks) * block_size));
            }
            if !self.fetcher(number).is_some_and(|fetcher| fetcher.role.is_awaited()) {
                continue;
            }
            self.complete += 1;
            if self.complete == share_of(0.95, self.awaited) {
                let useful = self.network.nodes().map(|(_, node)| node.record.useful).sum();
                self.outcome.at_95 = Some(At95 { at: self.network.now(), useful });
            }
        }
    }

    fn note_first_copy(&mut self) {
        if self.outcome.first_copy.is_none()
            && self.network.copies().is_every_block_fetched()
            && self.outcome.seeds_left.is_none()
        {
            self.outcome.first_copy = Some(FirstCopy { at: self.network.now(), sent: self.sent_by_seeds() });
        }
    }

    /// Lets those go that have given what they stayed for, and newcomers come.
    fn let_go(&mut self) {
        if let Some(copies) = self.scenario.seed_leaves_after
            && self.outcome.seeds_left.is_none()
            && self.sent_by_seeds() as f64 >= copies * self.scenario.size as f64
        {
            (0..self.scenario.seeds).for_each(|seed| self.leave(seed, Duration::ZERO));
        }
        let network = &self.network;
        let gave =
            |&(number, wanted): &(usize, u64)| network.node(number).is_none_or(|node| node.record.delivered >= wanted);
        let gone: Vec<_> = self.dwelling.extract_if(.., |dweller| gave(dweller)).collect();
        gone.into_iter().for_each(|(number, _)| self.leave(number, Duration::ZERO));

        if !self.newcomers_planned && self.held() >= self.scenario.newcomers.map_or(0.0, |coming| coming.when_held) {
            self.newcomers_planned = true;
            for planned in self.scenario.newcomers_from(self.network.now(), &mut self.rng) {
                self.agenda.plan(planned.at, Action::Join(planned));
            }
        }
    }

    /// The share of their blocks that those hold who are here to fetch.
    fn held(&self) -> f64 {
        let full = self.seeds_present() as u64 * u64::from(self.blocks);
        let wanted = self.present() as u64 * u64::from(self.blocks);
        (self.network.copies().total() - full) as f64 / wanted.max(1) as f64
    }

    /// How many are here to fetch.
    fn present(&self) -> usize {
        self.network.present() - self.seeds_present()
    }

    const fn seeds_present(&self) -> usize {
        if self.outcome.seeds_left.is_none() { self.scenario.seeds } else { 0 }
    }

    /// Payload bytes of all seeds that are here.
    fn sent_by_seeds(&self) -> u64 {
        (0..self.scenario.seeds).filter_map(|seed| Some(self.network.node(seed)?.record.sent)).sum()
    }

    fn sample(&mut self) {
        let present = self.present();
        let seeds = self.seeds_present();
        let copies = self.network.copies();
        let fewest = copies.fewest();
        let mut missing_one = vec![0_u32; self.blocks as usize];
        let mut complete = 0;
        for (_, node) in self.network.nodes().filter(|(number, _)| *number >= self.scenario.seeds) {
            let stored = node.swarm.stored();
            complete += usize::from(stored.is_full());
            if stored.count() + 1 == self.blocks
                && let Some(index) = (0..self.blocks).find(|&index| !stored.has(index))
            {
                missing_one[index as usize] += 1;
            }
        }
        self.outcome.samples.push(Sample {
            at: self.network.now(),
            present,
            complete,
            held: self.held(),
            fewest_copies: fewest,
            mean_copies: copies.total() as f64 / f64::from(self.blocks.max(1)),
            missing_rarest: present + seeds - fewest as usize,
            one_club: missing_one.into_iter().max().unwrap_or(0) as usize,
        });
    }

    fn finish(mut self) -> Outcome {
        self.outcome.ended = self.network.now();
        for (number, fetcher) in (self.scenario.seeds..).zip(&mut self.outcome.fetchers) {
            if let Some(node) = self.network.node_mut(number) {
                fetcher.record = std::mem::take(&mut node.record);
            }
        }
        for seed in 0..self.scenario.seeds {
            if let Some(node) = self.network.node_mut(seed) {
                self.outcome.seeds.push(std::mem::take(&mut node.record));
            }
        }
        self.outcome
    }
}

/// How many are a share of so many, rounded up.
fn share_of(share: f64, count: usize) -> usize {
    (share * count as f64 - 1e-9).ceil().max(0.0) as usize
}
