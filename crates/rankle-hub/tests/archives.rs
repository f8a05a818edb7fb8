//! Archives with good and with malicious contents.

use flate2::{Compression, write::GzEncoder};
use rankle_hub::{Limits, unpack, unwatched};
use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use zip::write::SimpleFileOptions;

const LIMITS: Limits = Limits { entries: 100, bytes: 1 << 20 };
const LANDMARK: &str = "list.txt";

fn zip(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(io::Cursor::new(Vec::new()));
    for (name, content) in entries {
        if name.ends_with('/') {
            writer.add_directory(*name, SimpleFileOptions::default()).unwrap();
        } else {
            writer.start_file(*name, SimpleFileOptions::default()).unwrap();
            writer.write_all(content).unwrap();
        }
    }
    writer.finish().unwrap().into_inner()
}

/// Tar header with any name, because the library's own writer would refuse malicious names.
fn header(name: &str, kind: tar::EntryType, length: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
    header.set_entry_type(kind);
    header.set_mode(0o644);
    header.set_size(length);
    header.set_cksum();
    header
}

fn gzipped(tar: Vec<u8>) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(&tar).unwrap();
    encoder.finish().unwrap()
}

fn tgz(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, content) in entries {
        let kind = if name.ends_with('/') { tar::EntryType::Directory } else { tar::EntryType::Regular };
        builder.append(&header(name, kind, content.len() as u64), *content).unwrap();
    }
    gzipped(builder.into_inner().unwrap())
}

/// Unpacks to `out` in a folder of its own.
fn unpacked(archive: &[u8], limits: Limits) -> (TempDir, Result<PathBuf, String>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("archive");
    fs::write(&path, archive).unwrap();
    let output = folder.path().join("deep/out");
    let outcome = unpack(&path, &output, LANDMARK, limits, &mut unwatched());
    (folder, outcome.map(|()| output).map_err(|error| error.to_string()))
}

/// Asserts that an archive is refused and leaves no file inside or outside of the folder.
fn refused(archive: &[u8], limits: Limits, says: &str) {
    let (folder, outcome) = unpacked(archive, limits);
    let message = outcome.unwrap_err();
    assert!(message.contains(says) && message.ends_with("nothing was unpacked") && message.lines().count() == 1, "{message}");
    assert!(message.contains("archive: "), "{message}");
    assert_eq!(fs::read_dir(folder.path().join("deep")).unwrap().count(), 0, "{says}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "{says}");
}

#[test]
fn the_folder_with_the_landmark_is_what_remains() {
    let entries: [(&str, &[u8]); 6] = [
        ("__MACOSX/set/._list.txt", b"x"),
        ("set/", b""),
        ("set/list.txt", b"a list"),
        ("set/images/a b/1.JPG", b"an image"),
        ("set/images/a b/é.JPG", b"another"),
        ("attributes.txt", b"not wanted"),
    ];
    for archive in [zip(&entries), tgz(&entries)] {
        let (_folder, output) = unpacked(&archive, LIMITS);
        let output = output.unwrap();
        assert_eq!(fs::read(output.join("list.txt")).unwrap(), b"a list");
        assert_eq!(fs::read(output.join("images/a b/1.JPG")).unwrap(), b"an image");
        assert_eq!(fs::read_dir(output.parent().unwrap()).unwrap().count(), 1);
        assert_eq!(fs::read_dir(output).unwrap().count(), 2);
    }
    // An archive without a top folder.
    let flat: [(&str, &[u8]); 2] = [("./list.txt", b"a list"), ("./images/1.jpg", b"an image")];
    let (_folder, output) = unpacked(&tgz(&flat), LIMITS);
    let output: PathBuf = output.unwrap();
    assert_eq!(fs::read(output.join("images/1.jpg")).unwrap(), b"an image");
}

#[test]
fn names_never_lead_out() {
    for name in ["../evil", "/tmp/evil", "set/../../evil", "set/./../evil", "C:/evil", "set\\..\\evil", "set//evil"] {
        let entries: [(&str, &[u8]); 2] = [("set/list.txt", b"a list"), (name, b"evil")];
        for archive in [zip(&entries), tgz(&entries)] {
            refused(&archive, LIMITS, "leads out of the folder");
        }
    }
    let deep = format!("{}evil", "a/".repeat(40));
    refused(&tgz(&[(&deep, b"x")]), LIMITS, "lies too deep");
}

#[test]
fn links_and_devices_are_refused() {
    use tar::EntryType::{Block, Char, Fifo, Link, Symlink};
    for kind in [Symlink, Link, Char, Block, Fifo] {
        let mut builder = tar::Builder::new(Vec::new());
        let mut header = header("set/list.txt", kind, 0);
        header.as_old_mut().linkname[..4].copy_from_slice(b"/etc");
        header.set_cksum();
        builder.append(&header, io::empty()).unwrap();
        refused(&gzipped(builder.into_inner().unwrap()), LIMITS, "'set/list.txt' is a link or a device");
    }
    let mut writer = zip::ZipWriter::new(io::Cursor::new(Vec::new()));
    writer.add_symlink("set/list.txt", "/etc/passwd", SimpleFileOptions::default()).unwrap();
    refused(&writer.finish().unwrap().into_inner(), LIMITS, "is a link or a device");
}

#[test]
fn bombs_do_not_go_off() {
    let zeros = vec![0; 3 << 20];
    for archive in [zip(&[("set/list.txt", &zeros)]), tgz(&[("set/list.txt", &zeros)])] {
        assert!(archive.len() < 1 << 16);
        refused(&archive, LIMITS, "past the 1048576 bytes that are allowed");
    }
    // Many files, each of which alone would be allowed.
    let names: Vec<String> = (0..20).map(|n| format!("set/{n}")).collect();
    let entries: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), &zeros[..1 << 17])).collect();
    refused(&zip(&entries), LIMITS, "past the 1048576 bytes that are allowed");
    refused(&tgz(&entries), LIMITS, "past the 1048576 bytes that are allowed");
    let few = Limits { entries: 5, ..LIMITS };
    refused(&zip(&entries), few, "past the 5 files that are allowed");
    refused(&tgz(&entries), few, "past the 5 files that are allowed");
    let exact = Limits { entries: 20, bytes: 20 << 17 };
    let (_folder, outcome) = unpacked(&tgz(&entries), exact);
    assert!(outcome.unwrap_err().contains("there is no list.txt in it"));
}

/// Names may have a block of their own, of any length, which the library reads into memory.
#[test]
fn an_endless_name_is_not_read() {
    let mut builder = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    let length = 64 << 20;
    builder.append(&header("././@LongLink", tar::EntryType::GNULongName, length), io::repeat(b'a').take(length)).unwrap();
    let archive = builder.into_inner().unwrap().finish().unwrap();
    refused(&archive, Limits { bytes: 1 << 30, ..LIMITS }, "more bytes than are allowed");
}

#[test]
fn what_is_damaged_or_something_else_is_refused() {
    let entries: [(&str, &[u8]); 2] = [("set/list.txt", b"a list"), ("set/image", &[7; 5000])];
    for archive in [zip(&entries), tgz(&entries)] {
        let (_folder, outcome) = unpacked(&archive[..archive.len() - 60], LIMITS);
        assert!(outcome.is_err());
    }
    refused(&[], LIMITS, "neither a zip nor a gzipped tar archive");
    refused(b"<html>", LIMITS, "neither a zip nor a gzipped tar archive");
    refused(&zip(&[("set/other.txt", b"")]), LIMITS, "there is no list.txt in it");
    refused(&tgz(&[("set/list.txt", b"1"), ("set/list.txt", b"2")]), LIMITS, "'set/list.txt' is in it twice");
}

/// Tar archive without compression.
fn tar(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut plain = Vec::new();
    flate2::read::GzDecoder::new(tgz(entries).as_slice()).read_to_end(&mut plain).unwrap();
    plain
}

#[test]
fn a_torn_archive_is_never_unpacked_by_half() {
    let entries: [(&str, &[u8]); 2] = [("set/list.txt", b"a list"), ("set/image", b"an image")];
    for archive in [zip(&entries), tgz(&entries)] {
        for length in 0..archive.len() {
            let (folder, outcome) = unpacked(&archive[..length], LIMITS);
            assert!(outcome.is_err(), "{length} of {} bytes were taken for all", archive.len());
            assert_eq!(fs::read_dir(folder.path().join("deep")).unwrap().count(), 0, "{length}");
        }
    }
    // The tar archive inside the compression may be cut, too: header and content have a block of 512 bytes each.
    let plain = tar(&entries);
    for (length, says) in [(512, "damaged"), (512 + 3, "damaged"), (1024, "has no end mark"), (2048, "has no end mark")] {
        refused(&gzipped(plain[..length].to_vec()), LIMITS, says);
    }
    let (_folder, outcome) = unpacked(&gzipped(plain[..2048 + 512].to_vec()), LIMITS);
    outcome.unwrap();
}

#[test]
fn checksums_that_come_last_are_read() {
    let entries: [(&str, &[u8]); 2] = [("set/list.txt", b"a list"), ("set/image", b"an image")];
    let archive = tgz(&entries);
    // The last eight bytes are CRC-32 and length of the content.
    for place in archive.len() - 8..archive.len() {
        let mut other = archive.clone();
        other[place] ^= 1;
        refused(&other, LIMITS, "damaged or not understood");
    }
    let mut zipped = zip(&[("set/list.txt", &[7; 1000][..])]);
    let stored = zipped.windows(4).position(|bytes| bytes == b"PK\x01\x02").unwrap();
    zipped[stored + 16] ^= 1;
    refused(&zipped, LIMITS, "is damaged");
    let mut endless = archive;
    endless.extend(gzipped(vec![0; 2 << 20]));
    refused(&endless, LIMITS, "more bytes than are allowed");
}

/// Archives compressed in parts, each with its own checksum, as some programs write them.
#[test]
fn an_archive_in_parts_is_unpacked_whole() {
    let plain = tar(&[("set/list.txt", b"a list"), ("set/image", b"an image")]);
    let parts = [&plain[..1024], &plain[1024..]].map(|part| gzipped(part.to_vec())).concat();
    let (_folder, output) = unpacked(&parts, LIMITS);
    assert_eq!(fs::read(output.unwrap().join("image")).unwrap(), b"an image");
}

#[test]
fn what_is_there_is_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let (path, output) = (folder.path().join("archive"), folder.path().join("out"));
    fs::write(&path, zip(&[("list.txt", b"")])).unwrap();
    fs::create_dir(&output).unwrap();
    let error = unpack(&path, &output, LANDMARK, LIMITS, &mut unwatched()).unwrap_err().to_string();
    assert!(error.contains("is there already"), "{error}");
    assert!(unpack(Path::new("nowhere"), &output.join("x"), LANDMARK, LIMITS, &mut unwatched()).is_err());
}
