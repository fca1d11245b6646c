//! What a neighbour was told, beside which stands what is so: the difference is sent, again if it was refused.

/// What a neighbour was told. `None` is what it has to be told whatever is so.
#[derive(Debug)]
pub(in crate::swarm) struct Told {
    /// Whether the last bitfield began anew, and no answer came to it.
    pub(in crate::swarm) begins: bool,
    /// How many of the new blocks; `None` if it is to get a bitfield.
    pub(in crate::swarm) blocks: Option<usize>,
    /// Whether this peer is interested.
    pub(in crate::swarm) interested: Option<bool>,
    /// Whether this peer serves it.
    pub(in crate::swarm) served: Option<bool>,
}

impl Told {
    /// A neighbour that was told nothing takes it that this peer is not interested and chokes it.
    pub(in crate::swarm) const fn nothing() -> Self {
        Self { begins: false, blocks: None, interested: Some(false), served: Some(false) }
    }
}
