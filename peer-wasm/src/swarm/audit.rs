//! Whether every sum that is kept is right, for tests.

use super::{BlockState, Swarm};

impl Swarm {
    /// Recounts every sum that is kept.
    ///
    /// # Panics
    /// If one is wrong: that is a bug of this module.
    #[doc(hidden)]
    pub fn audit(&self) {
        let geometry = self.manifest.geometry();
        self.blocks.audit(self.neighbours.values().map(|neighbour| &neighbour.said.has));
        let mut requested = vec![0; geometry.segments() as usize];
        for neighbour in self.neighbours.values() {
            neighbour.asked.audit(geometry);
            let segments = neighbour.asked.in_flight().iter().flat_map(|request| request.span.segments());
            segments.for_each(|segment| requested[segment as usize] += 1);
        }
        for index in (0..geometry.blocks()).filter(|index| self.blocks.is_wanted(*index)) {
            for segment in geometry.block_segments(index) {
                let times = self.blocks.times_asked(geometry.span(segment, 1).expect("a segment of the file"));
                assert_eq!(times, requested[segment as usize], "{segment} of {index} is asked of so many");
            }
        }
        let storing = (0..geometry.blocks()).filter(|index| self.blocks.state(*index) == BlockState::Storing);
        let storing: u64 = storing.map(|index| u64::from(geometry.block_len(index))).sum();
        assert_eq!(self.storing_bytes, storing, "bytes being stored");
        let in_flight: u64 = self.neighbours.values().map(|neighbour| neighbour.asked.bytes()).sum();
        assert_eq!(self.in_flight_bytes, in_flight, "bytes in flight");
        let asking = self.neighbours.iter().filter(|(_, neighbour)| !neighbour.served.queue.is_empty());
        assert!(self.asking.keys().eq(asking.map(|(peer, _)| peer)), "neighbours whose requests wait");
        assert!(self.choker.served().all(|peer| self.neighbours.contains_key(&peer)), "somebody gone has a place");
        let shared = self.reads.values().filter(|read| !read.by_line);
        let reading: u64 = shared.map(|read| geometry.span_len(read.span)).sum();
        assert!(self.uploading_bytes >= reading, "less is being sent than is being read");
    }
}
