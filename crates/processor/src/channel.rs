//! Messages between the parent and a child: JSON over a socket that keeps their borders. The
//! descriptor of a batch goes beside its message.
//!
//! A message that is too large for the socket travels in a memfd.

use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use model::form::FileView;
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, Shutdown, SocketFlags, SocketType, recvmsg, sendmsg, shutdown,
    socketpair,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::core::{Order, OrderId, Reply, Role};
use crate::memfd;

/// The first message to a child: its role and its configuration.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SetupMessage {
    pub(crate) role: Role,
    pub(crate) config: config::Process,
    /// This machine's name.
    pub(crate) host: String,
}

/// An order to a child, with its number.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct OrderMessage {
    pub(crate) id: OrderId,
    pub(crate) order: Order,
}

/// A message of a child.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ReplyMessage {
    /// The order that it answers; `None` if it answers no order.
    pub(crate) order: Option<OrderId>,
    pub(crate) reply: Reply,
}

/// Bytes of the largest message that travels in the socket.
const INLINE_MAX: usize = 64 << 10;
/// Bytes of the largest message.
const MESSAGE_MAX: u64 = 64 << 20;
/// The first byte of a message: the text follows in the socket, or is in the first descriptor.
const INLINE: u8 = 0;
const IN_MEMFD: u8 = 1;

/// One end of the socket between the parent and a child.
#[derive(Debug)]
pub(crate) struct Channel(OwnedFd);

impl Channel {
    /// The parent's end, and the child's.
    pub(crate) fn pair() -> io::Result<(Self, OwnedFd)> {
        let kind = SocketType::SEQPACKET;
        let (ours, theirs) = socketpair(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None)?;
        Ok((Self(ours), theirs))
    }

    pub(crate) const fn new(socket: OwnedFd) -> Self {
        Self(socket)
    }

    /// Sends a message. With `DONTWAIT` it does not wait: a full socket is an error.
    pub(crate) fn send(
        &self,
        message: &impl Serialize,
        descriptor: Option<BorrowedFd<'_>>,
        flags: SendFlags,
    ) -> io::Result<()> {
        let text = serde_json::to_vec(message)?;
        let large;
        let mut descriptors = Vec::new();
        let (kind, inline): (u8, &[u8]) = if text.len() <= INLINE_MAX {
            (INLINE, &text)
        } else {
            large = memfd::sealed("message", |file| file.write_all(&text))?;
            descriptors.push(large.as_fd());
            (IN_MEMFD, &[])
        };
        descriptors.extend(descriptor);
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        if !descriptors.is_empty() {
            ancillary.push(SendAncillaryMessage::ScmRights(&descriptors));
        }
        let parts = [IoSlice::new(std::slice::from_ref(&kind)), IoSlice::new(inline)];
        let flags = flags | SendFlags::NOSIGNAL;
        loop {
            match sendmsg(&self.0, &parts, &mut ancillary, flags) {
                Err(Errno::INTR) => {}
                sent => return sent.map(|_| ()).map_err(Into::into),
            }
        }
    }

    /// Receives a message and its descriptor; `None` when the other end is closed.
    pub(crate) fn receive<T: DeserializeOwned>(
        &self,
        flags: RecvFlags,
    ) -> io::Result<Option<(T, Option<OwnedFd>)>> {
        let mut buffer = vec![0; 1 + INLINE_MAX];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let flags = flags | RecvFlags::CMSG_CLOEXEC;
        let received = loop {
            let mut parts = [IoSliceMut::new(&mut buffer)];
            match recvmsg(&self.0, &mut parts, &mut ancillary, flags) {
                Err(Errno::INTR) => {}
                received => break received?,
            }
        };
        let mut descriptors = Vec::new();
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(rights) = message {
                descriptors.extend(rights);
            }
        }
        if received.bytes == 0 {
            return Ok(None);
        }
        let mut descriptors = descriptors.into_iter();
        let text = match buffer.first() {
            Some(&INLINE) => buffer.get(1..received.bytes).unwrap_or_default().to_vec(),
            _ => {
                let missing = || io::Error::other("a large message came without its descriptor");
                let large = File::from(descriptors.next().ok_or_else(missing)?);
                let mut text = Vec::new();
                FileView::new(&large).take(MESSAGE_MAX).read_to_end(&mut text)?;
                text
            }
        };
        Ok(Some((serde_json::from_slice(&text)?, descriptors.next())))
    }

    /// Lets [`Self::receive`] return `None` from now on, in all threads.
    pub(crate) fn close_for_reading(&self) {
        // This fails only if the other end is closed. Then `receive` returns `None` anyway.
        let _ = shutdown(&self.0, Shutdown::Read);
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_keep_their_borders_and_carry_descriptors() {
        let (ours, theirs) = Channel::pair().unwrap();
        let theirs = Channel::new(theirs);
        let large = "x".repeat(1 << 20);
        let content = memfd::sealed("content", |file| file.write_all(b"batch")).unwrap();
        let none = SendFlags::empty();
        ours.send(&"small", None, none).unwrap();
        ours.send(&"with", Some(content.as_fd()), none).unwrap();
        ours.send(&large, Some(content.as_fd()), none).unwrap();
        drop(ours);
        let receive = || theirs.receive::<String>(RecvFlags::empty()).unwrap();
        let (text, descriptor) = receive().unwrap();
        assert_eq!((text.as_str(), descriptor.is_none()), ("small", true));
        for expected in ["with", &large] {
            let (text, descriptor) = receive().unwrap();
            let mut content = String::new();
            let batch = File::from(descriptor.unwrap());
            FileView::new(&batch).read_to_string(&mut content).unwrap();
            assert_eq!((text.as_str(), content.as_str()), (expected, "batch"));
        }
        assert!(receive().is_none());
    }
}
