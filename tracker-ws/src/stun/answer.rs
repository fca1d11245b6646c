//! Reading a request and writing its answer.

use super::MAX_REQUEST_BYTES;
use std::net::SocketAddr;
use stun_types::{
    attribute::{AttributeStaticType as _, Fingerprint, RawAttribute, XorMappedAddress},
    message::{BINDING, Message, MessageClass, MessageHeader, MessageType, MessageWriteVec, TransactionId},
    prelude::{Attribute as _, AttributeExt as _, AttributeFromRaw as _, MessageWrite as _, MessageWriteExt as _},
};

/// The longest answer: a head, an address of IPv6 and a fingerprint.
const MAX_ANSWER_BYTES: usize = 20 + 24 + 8;

/// A binding request that wants nothing but its sender's address.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Request {
    transaction: TransactionId,
    has_fingerprint: bool,
}

impl Request {
    /// Reads a datagram; `None` if it is anything else.
    ///
    /// Attributes are walked here, and not by [`Message::from_bytes`], which logs a warning about each mistake: strangers
    /// would fill the log.
    pub(super) fn parse(datagram: &[u8]) -> Option<Self> {
        if datagram.len() > MAX_REQUEST_BYTES {
            return None;
        }
        let header = MessageHeader::from_bytes(datagram).ok()?;
        let is_whole = MessageHeader::LENGTH + usize::from(header.data_length()) == datagram.len();
        if !is_whole || header.get_type() != MessageType::from_class_method(MessageClass::Request, BINDING) {
            return None;
        }
        let (mut at, mut has_fingerprint) = (MessageHeader::LENGTH, false);
        while at < datagram.len() {
            // Nothing may follow it.
            if has_fingerprint {
                return None;
            }
            let attribute = RawAttribute::from_bytes(&datagram[at..]).ok()?;
            if attribute.get_type() == Fingerprint::TYPE {
                let fingerprint = Fingerprint::from_raw(attribute).ok()?;
                has_fingerprint = *fingerprint.fingerprint() == Fingerprint::compute(&[&datagram[..at]]);
                if !has_fingerprint {
                    return None;
                }
                at += fingerprint.padded_len();
            } else if attribute.get_type().comprehension_required() {
                // It asks for something that is not here (RFC 8489 section 6.3.1); the error would be longer than an answer.
                return None;
            } else {
                at += attribute.padded_len();
            }
        }
        (at == datagram.len()).then_some(Self { transaction: header.transaction_id(), has_fingerprint })
    }
}

/// The success response that tells `from`, and whose fingerprint is right if the request had one.
pub(super) fn answer(request: &Request, from: SocketAddr) -> Vec<u8> {
    let kind = MessageType::from_class_method(MessageClass::Success, BINDING);
    let buffer = MessageWriteVec::with_capacity(MAX_ANSWER_BYTES);
    let mut message = Message::builder(kind, request.transaction, buffer);
    let address = XorMappedAddress::new(from, request.transaction);
    message.add_attribute(&address).expect("the first attribute has room");
    if request.has_fingerprint {
        message.add_fingerprint().expect("the second attribute has room, and is the last");
    }
    message.finish()
}
