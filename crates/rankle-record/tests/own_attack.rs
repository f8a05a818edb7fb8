//! Attacks of other programs. A test process of its own: a registered attack stays to the end of the process.

use rankle_record::{AttackId, Declaration, Direction};

#[test]
fn an_attack_of_another_program_has_a_name_like_any_other() {
    let declaration = Declaration {
        name: "rise+",
        letter: "t",
        moves: "tests rise",
        direction: Some(Direction::Raise),
        unit: "percent of the gallery",
    };
    let own = AttackId::register(declaration).unwrap();
    assert_eq!("rise+".parse::<AttackId>().unwrap(), own);
    assert_eq!(serde_json::from_str::<AttackId>(&serde_json::to_string(&own).unwrap()).unwrap(), own);
    assert_eq!((own.direction(), own.has_targets()), (Some(Direction::Raise), true));
    assert_eq!(own.description(), "tests rise; lower is a stronger attack");
    assert_eq!(AttackId::registered(), [own]);
    let message = "ca".parse::<AttackId>().unwrap_err().to_string();
    assert_eq!(message, "unknown attack 'ca'; known: ca+, ca-, qa+, qa-, sp-qa+, sp-qa-, es, rise+");
    let taken = AttackId::register(Declaration { name: "ca+", ..declaration }).unwrap_err().to_string();
    assert!(taken.starts_with("cannot make the attack: the name 'ca+' is rankle's own"), "{taken}");
}
