//! Batches in memory that several processes read: files without a name, sealed so that no process
//! can change one while another reads it.

use std::fs::File;
use std::io::{self, BufWriter};
use std::os::fd::OwnedFd;

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};

/// Bytes handed to the kernel at once.
const WRITE_BYTES: usize = 64 << 10;

/// A sealed file with what `write` writes.
pub(crate) fn sealed(
    name: &str,
    write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
) -> io::Result<OwnedFd> {
    let file = File::from(memfd_create(name, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?);
    let mut writer = BufWriter::with_capacity(WRITE_BYTES, file);
    write(&mut writer)?;
    let file = OwnedFd::from(writer.into_inner().map_err(io::IntoInnerError::into_error)?);
    let seals = SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE;
    fcntl_add_seals(&file, seals)?;
    Ok(file)
}

/// A reader from the beginning. Processes that share a memfd share its position, so this one has
/// its own.
pub(crate) fn view(descriptor: OwnedFd) -> io::Result<View> {
    Ok(View { file: File::from(descriptor), position: 0 })
}

/// See [`view`].
#[derive(Debug)]
pub(crate) struct View {
    file: File,
    position: u64,
}

impl io::Read for View {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        use std::os::unix::fs::FileExt;
        let count = self.file.read_at(buffer, self.position)?;
        self.position += count as u64;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    #[test]
    fn nobody_can_change_a_sealed_file_and_each_reader_begins_at_its_beginning() {
        let sealed = sealed("test", |file| file.write_all(b"batch")).unwrap();
        let again = sealed.try_clone().unwrap();
        for descriptor in [again, sealed] {
            let mut view = view(descriptor).unwrap();
            let mut text = String::new();
            view.read_to_string(&mut text).unwrap();
            assert_eq!(text, "batch");
            assert!(view.file.write_all(b"x").is_err());
        }
    }
}
