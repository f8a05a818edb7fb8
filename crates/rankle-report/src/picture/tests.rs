//! Pictures of made-up lists.

use super::*;

/// A color image of 20 x 12 pixels: a ramp in one color.
fn color(hue: usize) -> Image {
    let pixels = (0..3 * 240).map(|at| if at / 240 == hue % 3 { (at % 20) as f32 / 19.0 } else { 0.2 }).collect();
    Image::new((3, 12, 20), pixels).unwrap()
}

fn list(name: &str, places: &[(usize, Mark)]) -> List {
    let places = places.iter().map(|&(rank, mark)| Slot { rank, image: color(rank), names: Vec::new(), mark }).collect();
    List { query: color(1), name: name.into(), names: Vec::new(), places }
}

fn picture() -> Picture {
    use Mark::*;
    let pair = Pair {
        caption: "query #12: rank 4,711 before, 0 after".into(),
        before: list("#12", &[(0, Itself), (1, None), (2, None), (4710, None), (4711, Moved(0)), (4712, None)]),
        after: list("#12", &[(0, Moved(0)), (1, Itself), (2, None), (3, Preserved(0))]),
    };
    Picture {
        title: "CA+, w = 1, ε = 0.1".into(),
        lines: vec!["a line".into(), "another".into()],
        epsilon: 0.1,
        epsilon_as_given: "0.1".into(),
        clean: color(0),
        adversarial: color(0),
        lists: vec![pair.clone(), pair],
    }
}

fn decode(bytes: Vec<u8>) -> (u32, u32, Vec<u8>) {
    let mut reader = ::png::Decoder::new(std::io::Cursor::new(bytes)).read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    let frame = reader.next_frame(&mut pixels).unwrap();
    (frame.width, frame.height, pixels)
}

#[test]
fn a_color_picture_has_its_frames_arrows_and_images() {
    let (width, height, pixels) = decode(png(&picture()).unwrap());
    assert_eq!((width, height), (2 * header::WIDTH as u32, 2 * (header::height(2) + 2 * ListPair::HEIGHT) as u32));
    let count = |wanted: [u8; 3]| pixels.chunks_exact(3).filter(|rgb| *rgb == wanted).count();
    let vermilion = [213, 94, 0];
    // Two pairs of frames, 3 points wide around 54 points, and one arrow in each; 2 pixels per point in both directions.
    let frames = 2 * 2 * 4 * (60 * 60 - 54 * 54);
    assert!(count(vermilion) > frames + 2 * 4 * 2 * 40, "{}", count(vermilion));
    assert!(count([0, 158, 115]) > 4 * (58 * 58 - 54 * 54), "what is kept has a frame");
    // The perturbation is zero: the middle one of the three images is gray, 112 points wide and 12/20 as high.
    assert!(count([128, 128, 128]) > 4 * 112 * 66, "{}", count([128, 128, 128]));
    assert!(count([255, 51, 51]) > 0 && count([51, 51, 255]) > 0, "the brightest red and blue of the ramps");
}

#[test]
fn the_width_follows_the_lists() {
    let mut wide = picture();
    wide.lists[0].before.places =
        (0..20).map(|rank| Slot { rank, image: color(rank), names: Vec::new(), mark: Mark::Moved(rank) }).collect();
    let (width, ..) = decode(png(&wide).unwrap());
    assert!(width > 2 * 20 * 54, "{width}");
    wide.lists.clear();
    assert_eq!(decode(png(&wide).unwrap()).0, 2 * header::WIDTH as u32);
}

/// Runs of dark columns in some rows of the picture, as first and last column; gaps of at most `gap` columns do not end a run.
fn runs((width, pixels): (usize, &[u8]), rows: std::ops::Range<usize>, gap: usize) -> Vec<(usize, usize)> {
    let dark = |x: usize| rows.clone().any(|y| pixels[3 * (y * width + x)] < 200);
    let mut runs: Vec<(usize, usize)> = Vec::new();
    for x in (0..width).filter(|&x| dark(x)) {
        match runs.last_mut() {
            Some((_, end)) if x - *end <= gap => *end = x,
            _ => runs.push((x, x)),
        }
    }
    runs
}

/// The two ends of the scale of a perturbation never touch each other or the zero between them.
#[test]
fn epsilon_is_shown_as_given_and_nothing_is_overprinted() {
    let labels = |epsilon: &str| {
        let picture = Picture { epsilon_as_given: epsilon.into(), lists: Vec::new(), ..picture() };
        let (width, height, pixels) = decode(png(&picture).unwrap());
        // The last line of the header, below the scale; without lists the picture ends with the header.
        let below = 2 * (header::height(2) - 24) as usize;
        runs((width as usize, &pixels), below..height as usize, 7)
    };
    let all = ["0.1", "8/255", "0.03137254901960784", "0.000031372549019607843"].map(labels);
    // The last epsilon leaves no room for the zero.
    assert_eq!(all.each_ref().map(Vec::len), [3, 3, 3, 2], "{all:?}");
    // The scale is as wide as the image above it: 112 points, from the left edge of the second image.
    let [first, last] = [2 * (16 + 146), 2 * (16 + 146 + 112)];
    for labels in all {
        assert!(labels[0].0 + 4 >= first && labels[labels.len() - 1].1 <= last + 4, "{labels:?}");
    }
}

/// Names stand below the ranks, at most as wide as their space, and take no space if there are none.
#[test]
fn names_have_room_of_their_own() {
    let mut named = picture();
    let plain = decode(png(&named).unwrap()).1;
    for list in named.lists.iter_mut().flat_map(|pair| [&mut pair.before, &mut pair.after]) {
        list.names = vec!["a class with a long name".into(), "0.jpg".into()];
        for place in &mut list.places {
            place.names = vec!["a class with a long name".into(), format!("a photograph {}.jpg", place.rank)];
        }
    }
    let (width, height, pixels) = decode(png(&named).unwrap());
    assert_eq!(height, plain + 2 * 2 * 2 * 24);
    // The second line of names of the first list: the query and six items, none of which overlap.
    let line = 2 * (header::height(2) + 32 + 54 + 22 + 12) as usize;
    let names = runs((width as usize, &pixels), line..line + 20, 11);
    assert!(names.len() >= 7, "{names:?}");
    assert!(names.iter().all(|(first, last)| last - first <= 2 * 96), "{names:?}");
    named.lists[0].before.places.iter_mut().for_each(|place| place.names.clear());
    assert_eq!(decode(png(&named).unwrap()).1, height);
}

#[test]
fn thousands_are_grouped() {
    for (number, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (60_502, "60,502"), (1_234_567, "1,234,567")] {
        assert_eq!(lists::grouped(number), text);
    }
}

#[test]
fn two_lists_show_the_same_places_while_these_are_few() {
    assert_eq!(window([4, 4], 9, [&[3], &[0]]), [[0, 1, 2, 3], [0, 1, 2, 3]]);
    assert_eq!(window([100, 100], 3, [&[1, 50, 99], &[2, 51, 98]]), [[0, 1, 2, 50, 51, 98, 99], [0, 1, 2, 50, 51, 98, 99]]);
    let [before, after]: [Vec<usize>; 2] = [(20..30).collect(), (40..50).collect()];
    let shown = window([100, 100], 2, [&before, &after]);
    assert_eq!(shown, [[vec![0, 1], before].concat(), [vec![0, 1], after].concat()]);
    assert_eq!(window([1, 2], 1, [&[], &[]]), [[0], [0]]);
    assert_eq!(window([1, 2], 1, [&[usize::MAX], &[1]])[1], [0, 1]);
}

#[test]
fn shared_perturbations_stand_below_one_another() {
    let example = Example { before: color(0), after: color(1), rank_before: "7,000".into(), rank_after: "12".into() };
    let row = |examples| Shared {
        caption: "query #3".into(),
        name: "query #3".into(),
        target: color(2),
        perturbation: Image::perturbation((3, 12, 20), &[0.1; 720], 0.1).unwrap(),
        examples: vec![example.clone(); examples],
    };
    let picture = |rows: Vec<Shared>| SharedPicture {
        title: "Universal CA+".into(),
        lines: vec!["a line".into()],
        epsilon: "0.1".into(),
        rows,
    };
    let (width, height, pixels) = decode(shared_png(&picture(vec![row(2)])).unwrap());
    assert!(pixels.chunks_exact(3).filter(|rgb| *rgb == [213, 94, 0]).count() > 4 * (60 * 60 - 54 * 54) - 100);
    let (wider, higher, _) = decode(shared_png(&picture(vec![row(2), row(12)])).unwrap());
    assert!(wider > width && higher > height + 300, "{wider} {higher}");
}
