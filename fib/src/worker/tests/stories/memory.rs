//! The kernel in memory.

use super::grounds::{Ground, Has, Snapshot};
use crate::kernel::fake::FakeKernel;
use crate::kernel::{DeviceChange, Event, Kernel, LinkKind, Refusal, Write};

pub(super) struct Memory(FakeKernel);

impl Memory {
    pub(super) fn new(has: Has) -> Memory {
        let kernel = FakeKernel::default();
        kernel.with(|state| {
            state.has_ipip = has.ipip;
            state.no_objects = !has.objects;
        });
        kernel.add_link("lo", LinkKind::Loopback);
        Memory(kernel)
    }
}

impl Ground for Memory {
    type Kernel = FakeKernel;

    async fn open(&mut self) -> FakeKernel {
        self.0.with(|state| state.events.clear());
        self.0.clone()
    }

    async fn events(&mut self) -> Vec<Event> {
        self.0.with(|state| std::mem::take(&mut state.events))
    }

    async fn snapshot(&mut self) -> Snapshot {
        Snapshot::of(&mut self.0).await
    }

    async fn write(&mut self, write: Write) -> Result<(), Refusal> {
        self.0.foreign_write(&write)
    }

    async fn change(&mut self, change: DeviceChange) -> Result<(), Refusal> {
        self.0.change(&change).await
    }

    async fn add_link(&mut self, name: &str) {
        self.0.add_link(name, LinkKind::Ordinary);
    }

    async fn rename_link(&mut self, index: u32, name: &str) {
        self.0.rename_link(index, name);
    }
}
