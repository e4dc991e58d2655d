//! Whether the versions that an object needs are there.

use folio_elf::version::VER_FLG_WEAK;
use folio_link::Problem;
use folio_link::version::check;

use crate::builder::{Builder, World, executable, shared_object};

fn sentences(world: &World, id: folio_link::ObjectId) -> Vec<String> {
    let mut sentences = Vec::new();
    check(&world.objects, &world.scope.objects, id, b"./program", &mut |error| sentences.push(error.to_string()));
    sentences
}

fn provider() -> Builder {
    let defines = vec![(1, "libv.so", 1), (2, "V1", 0), (3, "V2", 0)];
    Builder { soname: Some("libv.so"), defines, ..shared_object("/lib/libv.so.1.2", &[]) }
}

#[test]
fn all_missing_versions_are_told_in_one_run() {
    let mut world = World::default();
    let needs = vec![
        ("libv.so", 2, "V2", 0),
        ("libv.so", 3, "V3", 0),
        ("libother.so", 4, "O1", 0),
        ("libv.so", 5, "V4", VER_FLG_WEAK),
        ("libv.so", 6, "V5", 0),
    ];
    let program = world.add(&Builder { needs: needs.clone(), ..executable(&[]) });
    let library = world.add(&Builder { needs, ..shared_object("/lib/user.so", &[]) });
    world.add(&provider());
    world.add(&Builder {
        soname: Some("libother.so"),
        defines: vec![(2, "O0", 0)],
        ..self::shared_object("/lib/other", &[])
    });
    assert_eq!(
        sentences(&world, program),
        [
            "/lib/libv.so.1.2: version `V3' not found (required by ./program)",
            "/lib/other: version `O1' not found (required by ./program)",
            "/lib/libv.so.1.2: version `V5' not found (required by ./program)",
        ]
    );
    assert!(sentences(&world, library)[0].ends_with("version `V3' not found (required by /lib/user.so)"));
}

#[test]
fn versions_are_compared_by_name_too() {
    let mut world = World::default();
    // Two names of one hash: 'b' << 4 + 'a' == 'a' << 4 + 'q'.
    assert_eq!(folio_elf::hash::sysv(b"ba"), folio_elf::hash::sysv(b"aq"));
    let user = world.add(&Builder { needs: vec![("libv.so", 2, "ba", 0)], ..shared_object("/lib/user.so", &[]) });
    world.add(&Builder { soname: Some("libv.so"), defines: vec![(2, "aq", 0)], ..shared_object("/lib/libv.so", &[]) });
    assert_eq!(sentences(&world, user), ["/lib/libv.so: version `ba' not found (required by /lib/user.so)"]);
}

#[test]
fn providers_without_versions_are_warned_of_and_absent_ones_are_no_error_here() {
    let mut world = World::default();
    let needs = vec![("libv.so", 2, "V3", 0), ("absent.so", 3, "V3", 0)];
    let user = world.add(&Builder { needs, ..shared_object("/lib/user.so", &[]) });
    world.add(&Builder { soname: Some("libv.so"), ..shared_object("/lib/libv.so", &[]) });
    assert_eq!(sentences(&world, user), ["/lib/libv.so: no version information available (required by /lib/user.so)"]);
    assert!(Problem::NoVersions { requester: Vec::new() }.is_warning());
}

#[test]
fn indices_lead_to_versions() {
    let mut world = World::default();
    let user = Builder {
        needs: vec![("libv.so", 7, "V2", 0)],
        defines: vec![(1, "u", 1), (2, "U1", 0)],
        ..shared_object("u", &[])
    };
    let id = world.add(&user);
    let versions = &world.objects[id].versions;
    let name = |versym| versions.get(versym).map(|version| version.name);
    assert_eq!((name(2), name(2 | 0x8000)), (Some(b"U1".as_slice()), Some(b"U1".as_slice())));
    assert_eq!(name(7), Some(b"V2".as_slice()));
    assert_eq!([0, 1, 3, 8, 0x7fff].map(name), [None; 5], "the base version is none");
}

#[test]
fn each_of_many_definitions_is_found() {
    let names: Vec<&'static str> = (0..300).map(|number| &*format!("V{number}").leak()).collect();
    let defines = |names: &[&'static str]| names.iter().zip(2..).map(|(&name, index)| (index, name, 0)).collect();
    let needs: Vec<_> = names.iter().zip(2..).map(|(&name, index)| ("libv.so", index, name, 0)).collect();
    for (count, missing) in [(300, 0), (64, 236), (65, 235), (299, 1)] {
        let mut world = World::default();
        let user = world.add(&Builder { needs: needs.clone(), ..shared_object("/lib/user.so", &[]) });
        world.add(&Builder {
            soname: Some("libv.so"),
            defines: defines(&names[..count]),
            ..shared_object("/lib/libv.so", &[])
        });
        assert_eq!(sentences(&world, user).len(), missing);
    }
}

#[test]
fn definitions_are_found_whatever_the_order_of_indices() {
    let needs = vec![
        ("libv.so", 2, "libv.so", 0),
        ("libv.so", 3, "V1", 0),
        ("libv.so", 4, "V2", 0),
        ("libv.so", 5, "N1", 0),
        ("libv.so", 6, "N2", 0),
    ];
    // What a provider needs itself it does not define, also where its index lies among, or on, those of its definitions.
    for of_need in [[3, 4], [8, 9], [2, 5]] {
        let mut world = World::default();
        let user = world.add(&Builder { needs: needs.clone(), ..shared_object("/lib/user.so", &[]) });
        let own_needs = vec![("absent.so", of_need[0], "N1", 0), ("absent.so", of_need[1], "N2", 0)];
        world.add(&Builder {
            defines: vec![(1, "libv.so", 1), (2, "V1", 0), (5, "V2", 0)],
            needs: own_needs,
            ..provider()
        });
        let told = sentences(&world, user);
        assert!(told.len() == 2 && told[0].contains("`N1'") && told[1].contains("`N2'"), "{of_need:?}: {told:?}");
    }
}
