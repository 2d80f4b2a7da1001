//! The readiness of many sockets: a thin face on epoll for the load and the bare loop.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};

/// What is ready.
#[derive(Clone, Copy, Debug)]
pub struct Ready {
    /// The number that the socket was added under.
    pub token: usize,
    /// It can be read, or it is over, which reading tells.
    pub readable: bool,
    /// It takes bytes again.
    pub writable: bool,
}

/// A set of sockets to wait for.
pub struct Poll {
    epoll: OwnedFd,
    events: Vec<epoll::Event>,
}

fn interest(writing: bool) -> epoll::EventFlags {
    if writing {
        epoll::EventFlags::IN | epoll::EventFlags::OUT
    } else {
        epoll::EventFlags::IN
    }
}

impl Poll {
    /// An empty set.
    pub fn new() -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        Ok(Self {
            epoll,
            events: Vec::with_capacity(1024),
        })
    }

    /// Waits for something to read from this socket from now on.
    pub fn add(&self, source: impl AsFd, token: usize) -> io::Result<()> {
        let data = epoll::EventData::new_u64(token as u64);
        Ok(epoll::add(&self.epoll, source, data, interest(false))?)
    }

    /// Waits for room to write as well, or no longer.
    pub fn set_writing(&self, source: impl AsFd, token: usize, writing: bool) -> io::Result<()> {
        let data = epoll::EventData::new_u64(token as u64);
        Ok(epoll::modify(&self.epoll, source, data, interest(writing))?)
    }

    /// Waits for no more of this socket.
    pub fn remove(&self, source: impl AsFd) -> io::Result<()> {
        Ok(epoll::delete(&self.epoll, source)?)
    }

    /// Waits until something is ready or the time is over, and puts what is ready into `ready`.
    pub fn wait(&mut self, ready: &mut Vec<Ready>, time: Option<Duration>) -> io::Result<()> {
        let time = time.map(|time| Timespec {
            tv_sec: time.as_secs().cast_signed(),
            tv_nsec: time.subsec_nanos().into(),
        });
        self.events.clear();
        ready.clear();
        match epoll::wait(&self.epoll, spare_capacity(&mut self.events), time.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        ready.extend(self.events.iter().map(|event| {
            let flags = event.flags;
            Ready {
                token: event.data.u64() as usize,
                readable: flags.intersects(!epoll::EventFlags::OUT),
                writable: flags.contains(epoll::EventFlags::OUT),
            }
        }));
        Ok(())
    }
}
