//! Batches in memory that several processes read: files without a name, sealed so that no process
//! can change one while another reads it. The processes share the file's position, so each reads
//! with a [`model::form::FileView`].

use std::fs::File;
use std::io::{self, BufWriter};
use std::os::fd::OwnedFd;

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};

/// Bytes of one write.
const WRITE_BYTES: usize = 64 << 10;

/// A sealed file with the output of `write`.
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

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use model::form::FileView;

    use super::*;

    #[test]
    fn a_sealed_file_cannot_be_changed_and_each_reader_starts_at_its_beginning() {
        let sealed = sealed("test", |file| file.write_all(b"batch")).unwrap();
        let again = sealed.try_clone().unwrap();
        for descriptor in [again, sealed] {
            let mut file = File::from(descriptor);
            let mut text = String::new();
            FileView::new(&file).read_to_string(&mut text).unwrap();
            assert_eq!(text, "batch");
            assert!(file.write_all(b"x").is_err());
        }
    }
}
