//! Recognition of files that are not safetensors: other weight formats and failed downloads.

/// Advice for converting a PyTorch checkpoint to safetensors.
const CONVERT: &str = "convert it in Python with safetensors.torch.save_file(torch.load(FILE, map_location=\"cpu\"), OUTPUT)";
const UNPACK: &str = "unpack it and name the file inside";

/// Known formats: offset and bytes of the magic number, name of the format, advice.
const BEGINNINGS: [(usize, &[u8], &str, &str); 13] = [
    (0, b"version https://git-lfs", "a Git-LFS pointer", "the weights are elsewhere: get them with `git lfs pull`"),
    (0, b"\x89HDF\r\n\x1a\n", "an HDF5 file, as Keras writes it", "save its tensors with safetensors"),
    (0, b"\x93NUMPY", "a NumPy array", "save the tensors with safetensors.numpy.save_file"),
    (0, b"GGUF", "a GGUF model", "take the original in safetensors"),
    (4, b"TFL3", "a TensorFlow Lite model", "take the original in safetensors"),
    (0, b"\x1f\x8b", "a gzip archive", UNPACK),
    (0, b"\x28\xb5\x2f\xfd", "a zstd archive", UNPACK),
    (0, b"\xfd7zXZ\0", "an xz archive", UNPACK),
    (0, b"BZh", "a bzip2 archive", UNPACK),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive", UNPACK),
    (257, b"ustar", "a tar archive", UNPACK),
    (0, b"PK\x05\x06", "an empty ZIP archive", "get it again"),
    (0, b"\x89PNG", "a PNG image", "name the file of the weights"),
];

/// Name of the file's format, and advice; `None` if the format is not known.
pub(crate) fn explain(bytes: &[u8]) -> Option<String> {
    let (what, remedy) = recognize(bytes)?;
    Some(format!("{what}: {remedy}"))
}

fn recognize(bytes: &[u8]) -> Option<(&'static str, &'static str)> {
    if bytes.is_empty() {
        return Some(("an empty file", "get or write it again"));
    }
    let beginning = BEGINNINGS.iter().find(|(at, magic, ..)| bytes.get(*at..).is_some_and(|rest| rest.starts_with(magic)));
    if let Some(&(_, _, what, remedy)) = beginning {
        return Some((what, remedy));
    }
    if bytes.starts_with(b"PK\x03\x04") {
        return Some(zip(bytes));
    }
    text(bytes).or_else(|| binary(bytes))
}

/// Recognizes ZIP archives. A PyTorch checkpoint is a ZIP archive that contains a pickle.
fn zip(bytes: &[u8]) -> (&'static str, &'static str) {
    const WINDOW: usize = 1 << 16;
    let has = |part: &[u8]| {
        let (first, last) = (&bytes[..bytes.len().min(WINDOW)], &bytes[bytes.len().saturating_sub(WINDOW)..]);
        [first, last].iter().any(|window| window.windows(part.len()).any(|at| at == part))
    };
    match (has(b"data.pkl"), has(b".npy")) {
        (true, _) => ("a checkpoint of PyTorch", CONVERT),
        (false, true) => ("a NumPy archive", "save its arrays with safetensors.numpy.save_file"),
        (false, false) => ("a ZIP archive", UNPACK),
    }
}

/// Recognizes text: web pages sent instead of the file, the index of a model in several files, other JSON.
fn text(bytes: &[u8]) -> Option<(&'static str, &'static str)> {
    let start = String::from_utf8_lossy(&bytes[..bytes.len().min(1024)]).to_lowercase();
    let start = start.trim_start_matches(|c: char| c.is_whitespace() || c == '\u{feff}');
    if ["<!doctype", "<html", "<?xml", "<head"].iter().any(|tag| start.starts_with(tag)) {
        return Some(("a web page", "download the file itself, not the page that shows it or an error"));
    }
    match (start.starts_with('{'), start.contains("\"weight_map\"")) {
        (true, true) => Some(("the index of a model in several files", "join them to one safetensors file")),
        (true, false) => Some(("JSON", "name the file of the weights")),
        (false, _) => None,
    }
}

/// Recognizes formats without a magic number. Truncated safetensors files are excluded: their JSON begins at byte 8.
fn binary(bytes: &[u8]) -> Option<(&'static str, &'static str)> {
    match bytes {
        [_, _, _, _, _, _, _, _, b'{', ..] => None,
        // Protocols 2 to 5 of Python's pickle, which PyTorch wrote before it used ZIP.
        [0x80, 2..=5, ..] => Some(("a pickle, as older versions of PyTorch write it", CONVERT)),
        // Protocol buffers: the version of the format, then a string, the graph or the operators.
        [0x08, 3..=32, 0x12 | 0x1a | 0x22 | 0x3a | 0x42, ..] => {
            Some(("an ONNX model", "it is a whole model, not weights alone: rankle takes it as --model onnx:FILE"))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_known_by_what_is_in_them() {
        let zipped = |name: &str| [b"PK\x03\x04\x14\0", name.as_bytes(), b"\x80\x02}q\0."].concat();
        let tar = [vec![b'x'; 257], b"ustar\0".to_vec()].concat();
        for (bytes, what, remedy) in [
            (zipped("archive/data.pkl"), "a checkpoint of PyTorch: ", "torch.load"),
            (zipped("conv1.npy"), "a NumPy archive: ", "safetensors.numpy"),
            (zipped("model.safetensors"), "a ZIP archive: ", "unpack"),
            (b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.".to_vec(), "a pickle, ", "torch.load"),
            (b"\x08\x07\x12\x07pytorch\x1a\x051.2.3".to_vec(), "an ONNX model: ", "onnx:FILE"),
            (
                b"version https://git-lfs.github.com/spec/v1\noid sha256:5f\nsize 9\n".to_vec(),
                "a Git-LFS pointer: ",
                "git lfs pull",
            ),
            (b"\n<!DOCTYPE html><title>404</title>".to_vec(), "a web page: ", "download"),
            (b"{\"weight_map\": {}}".to_vec(), "the index of a model in several files: ", "join"),
            (b"\x1f\x8b\x08\0\0\0\0\0\0\0".to_vec(), "a gzip archive: ", "unpack"),
            (tar, "a tar archive: ", "unpack"),
            (b"\x89HDF\r\n\x1a\n".to_vec(), "an HDF5 file, ", "safetensors"),
            (Vec::new(), "an empty file: ", "again"),
        ] {
            let said = explain(&bytes).unwrap_or_else(|| panic!("{what}"));
            assert!(said.starts_with(what) && said.contains(remedy), "{said}");
        }
        // Beginnings of safetensors files, whose lengths look like a pickle and like ONNX.
        for length in [[0x80u8, 2, 0, 0, 0, 0, 0, 0], [8, 7, 0x12, 0, 0, 0, 0, 0]] {
            assert_eq!(explain(&[&length[..], b"{\"conv1"].concat()), None);
        }
        assert_eq!(explain(b"epoch 1: loss 0.2"), None);
    }
}
