//! Agreement of a gradient with the slopes of its loss, told apart from rounding.

use rankle_attacks::{Agreement, Slope, directions};
use rankle_core::Seed;

/// Slopes of 1 and -1 in turn, a gradient of `gradient` times the slope, and independent rounding errors of size `rounding`.
fn slopes(gradient: f64, rounding: f64) -> Vec<Slope> {
    let sign = |at: usize| if at == 0 { 1.0 } else { -1.0 };
    let one = |n: usize| {
        let slope = sign(n & 1);
        Slope { gradient: gradient * slope, quotients: [slope + rounding * sign(n & 2), slope + rounding * sign(n & 4)] }
    };
    (0..256).map(one).collect()
}

#[test]
#[rustfmt::skip] // the columns are the point
fn rounding_is_told_from_errors() {
    //                              gradient  rounding  error  holds
    for (gradient, rounding, error, holds) in [
                                   (1.0,      0.0,      0.0,   Some(true)),
                                   (1.0,      0.2,      0.0,   Some(true)),
                                   (1.05,     0.1,      0.05,  Some(true)),
                                   (1.2,      0.0,      0.2,   Some(false)),
                                   (1.2,      0.1,      0.2,   Some(false)),
                                   (0.0,      0.1,      1.0,   Some(false)),
                                   (-1.0,     0.1,      2.0,   Some(false)),
                                   (1.0,      0.6,      0.0,   None),
    ] {
        let found = Agreement::of(&slopes(gradient, rounding));
        let [estimate, least, most] = found.error().unwrap();
        assert!((estimate - error).abs() < 1e-9 && least <= estimate && estimate <= most, "{gradient} {rounding}: {estimate}");
        assert_eq!(found.holds(), holds, "{gradient} {rounding}: {least} {most}");
        assert!((found.steepness() - 1.0).abs() < 1e-9);
    }
}

#[test]
fn there_is_no_answer_where_nothing_is_steep() {
    let flat = [Slope { gradient: 0.0, quotients: [0.0, 0.0] }; 9];
    let drowned = slopes(1.0, 30.0);
    for slopes in [&[][..], &flat[..], &flat[..1], &drowned] {
        assert_eq!(Agreement::of(slopes).holds(), None);
    }
}

#[test]
fn images_are_put_together() {
    let (all, none) = (slopes(1.0, 0.2), slopes(0.0, 0.2));
    let (both, apart) = ([all.clone(), none.clone()].concat(), Agreement::of(&all).and(Agreement::of(&none)));
    assert_eq!(apart.directions, 512);
    assert!((apart.error().unwrap()[0] - Agreement::of(&both).error().unwrap()[0]).abs() < 1e-12);
    assert!((apart.error().unwrap()[0] - 0.5f64.sqrt()).abs() < 1e-9);
}

#[test]
fn directions_are_signs_and_a_few_are_the_first_of_many() {
    let of =
        |image, count| directions(Seed(1), image, count, (1, 5, 4)).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
    let many = of(3, 50);
    assert!(many.iter().all(|way| way.abs() == 1.0) && many.len() == 1000);
    let up = many.iter().filter(|&&way| way > 0.0).count();
    assert!((430..570).contains(&up), "{up}"); // 500 expected, standard deviation 16
    assert_eq!(of(3, 2), many[..40]);
    assert_ne!(of(4, 2), many[..40]);
}
