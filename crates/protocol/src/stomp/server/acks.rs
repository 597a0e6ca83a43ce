//! Which messages of a subscription wait for their acknowledgement.

use std::collections::VecDeque;

/// The `ack` header of SUBSCRIBE.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AckMode {
    /// Sent is acknowledged.
    Auto,
    /// An acknowledgement counts for all earlier messages, too.
    Client,
    /// An acknowledgement counts for one message.
    ClientIndividual,
}

impl AckMode {
    pub(super) fn parse(text: &str) -> Option<AckMode> {
        match text {
            "auto" => Some(AckMode::Auto),
            "client" => Some(AckMode::Client),
            "client-individual" => Some(AckMode::ClientIndividual),
            _ => None,
        }
    }
}

/// Message numbers that wait, ascending; as many as the caller had credit for.
#[derive(Debug)]
pub(super) struct Acks {
    pub(super) mode: AckMode,
    outstanding: VecDeque<u64>,
}

impl Acks {
    pub(super) fn new(mode: AckMode) -> Acks {
        Acks {
            mode,
            outstanding: VecDeque::new(),
        }
    }

    pub(super) fn sent(&mut self, message: u64) {
        if self.mode != AckMode::Auto {
            self.outstanding.push_back(message);
        }
    }

    /// ACK or NACK; returns how many messages no longer wait. Any number that
    /// does not wait may stand for those before it.
    pub(super) fn settle(&mut self, message: u64) -> u32 {
        let found = self.outstanding.binary_search(&message);
        let settled = match (self.mode, found) {
            (AckMode::Client, Ok(at)) => at + 1,
            (AckMode::Client, Err(at)) => at,
            (_, Ok(at)) => {
                self.outstanding.remove(at);
                return 1;
            }
            (_, Err(_)) => return 0,
        };
        self.outstanding.drain(..settled);
        u32::try_from(settled).unwrap_or(u32::MAX)
    }
}
