//! Addresses out of this node's own blocks.
//!
//! Requests that wait for one block are served together: whoever gets the block serves all that wait by then, in one
//! write. The handle of each was counted up before, as for a request alone, so a crash leaves a count too high and never
//! an address without a handle.

use std::net::IpAddr;

use tokio::sync::oneshot;

use super::assign::{Try, Wish};
use super::cache::Slot;
use super::handles::{is_race, too_often};
use super::{Ipam, IpamError, Rules, TRIES, block};
use crate::resources::{Attribute, IPAMBlock};
use crate::store::{StoreError, Stored};

/// What a request wants of a block.
#[derive(Debug, Clone, Copy)]
pub(super) enum Give {
    Next,
    Certain(IpAddr),
}

/// A request that waits for a block.
#[derive(Debug)]
pub(crate) struct Waiting {
    give: Give,
    attribute: Attribute,
    answer: oneshot::Sender<Answer>,
}

#[derive(Debug, Clone)]
enum Answer {
    Given(IpAddr),
    /// The block has not what is asked for: why.
    Refused(String),
    /// The block is not this node's any more.
    Lost,
    Failed(StoreError),
}

impl Ipam {
    /// Handle first, then the block; the handle again when the block did not work out.
    pub(super) async fn in_own_block(
        &self,
        wish: &Wish<'_>,
        slot: &Slot,
        give: Give,
    ) -> Result<Try, IpamError> {
        let handle = &wish.request.handle;
        wish.increment(self, &slot.cidr).await?;
        let (sender, mut receiver) = oneshot::channel();
        slot.enqueue(Waiting {
            give,
            attribute: wish.attribute(),
            answer: sender,
        });
        let answer = tokio::select! {
            biased;
            answer = &mut receiver => answer,
            mut cached = slot.block.lock() => {
                self.serve(slot, &mut cached, wish.rules).await;
                drop(cached);
                receiver.await
            }
        };
        let failure = match answer {
            Ok(Answer::Given(address)) => return Ok(Try::Given(address)),
            Ok(Answer::Refused(why)) => {
                self.decrement(handle, &slot.cidr, 1).await?;
                return Ok(Try::Refused(why));
            }
            Ok(Answer::Lost) => {
                self.decrement(handle, &slot.cidr, 1).await?;
                return Ok(Try::Elsewhere);
            }
            Ok(Answer::Failed(error)) => error,
            Err(_) => StoreError::Unavailable {
                what: format!("IPAMBlock {}", slot.cidr),
                why: "the request that wrote it for several was given up".to_owned(),
            },
        };
        self.undo_increment(handle, &slot.cidr).await;
        Err(failure.into())
    }

    /// Answers all who wait, if somebody does.
    async fn serve(&self, slot: &Slot, cached: &mut Option<Stored<IPAMBlock>>, rules: &Rules) {
        let mut waiting = slot.take_waiting();
        if waiting.is_empty() {
            return;
        }
        let answers = match self.write_for(slot, cached, rules, &mut waiting).await {
            Ok(answers) => answers,
            Err(error) => vec![Answer::Failed(error); waiting.len()],
        };
        for (one, answer) in waiting.into_iter().zip(answers) {
            // Whoever has gone meanwhile is told by its handle, which a release finds.
            let _ = one.answer.send(answer);
        }
    }

    async fn write_for(
        &self,
        slot: &Slot,
        cached: &mut Option<Stored<IPAMBlock>>,
        rules: &Rules,
        waiting: &mut Vec<Waiting>,
    ) -> Result<Vec<Answer>, StoreError> {
        let mut last = None;
        for _ in 0..TRIES {
            waiting.retain(|one| !one.answer.is_closed());
            let current = match cached.take() {
                Some(stored) => Some(stored),
                None => self.block(slot.cidr).await?,
            };
            let ours = current.filter(|stored| block::node_of(&stored.spec) == Some(&self.node));
            let Some(mut stored) = ours else {
                self.cache.remove(&slot.cidr);
                return Ok(vec![Answer::Lost; waiting.len()]);
            };
            block::collect(&mut stored.spec, self.now(), rules.cooldown());
            let answers: Vec<Answer> = waiting
                .iter()
                .map(|one| one.serve(&mut stored.spec, rules))
                .collect();
            let free = self.available(&stored.spec, rules);
            if !answers.iter().any(|one| matches!(one, Answer::Given(_))) {
                // It was changed in memory only, and is read again.
                slot.saw(&stored.spec, free);
                return Ok(answers);
            }
            match self.write_block(stored).await {
                Ok(stored) => {
                    slot.saw(&stored.spec, free);
                    *cached = Some(stored);
                    return Ok(answers);
                }
                Err(error) if is_race(&error) => last = Some(error),
                Err(error) => return Err(error),
            }
        }
        Err(too_often(last, &format!("IPAMBlock {}", slot.cidr)))
    }

    /// How many addresses of a block may be given now.
    pub(super) fn available(&self, block: &IPAMBlock, rules: &Rules) -> usize {
        block::available(block, &rules.reserved, self.now(), rules.cooldown())
    }

    /// Counts anew what may be given: reservations come and go, and cooldowns end, without a write. A block that is
    /// being written is counted by whoever writes it.
    pub(super) fn recount_room(&self, rules: &Rules) {
        for slot in self.cache.slots() {
            if let Ok(cached) = slot.block.try_lock()
                && let Some(stored) = cached.as_ref()
            {
                slot.saw(&stored.spec, self.available(&stored.spec, rules));
            }
        }
    }
}

impl Waiting {
    fn serve(&self, block: &mut IPAMBlock, rules: &Rules) -> Answer {
        let attribute = self.attribute.clone();
        match self.give {
            Give::Next => match block::assign_next_outside(block, &rules.reserved, attribute) {
                Some(address) => Answer::Given(address),
                None => Answer::Refused("its block is full".to_owned()),
            },
            Give::Certain(address) => match block::assign_address(block, address, attribute) {
                Ok(()) => Answer::Given(address),
                Err(why) => Answer::Refused(why),
            },
        }
    }
}
