use super::*;
use bytes::Bytes;
use proptest::prelude::*;

fn bytes(size: usize) -> Vec<u8> {
    (0..size).map(|i| (i * 7 + i / 251) as u8).collect()
}

fn manifest_of(content: &[u8], piece: usize) -> Manifest {
    let size = content.len() as u64;
    let mut hasher = ManifestHasher::new(Geometry::new(size, BlockSize::for_file(size)).unwrap());
    content.chunks(piece).for_each(|piece| hasher.update(piece));
    hasher.finish("f".parse().unwrap(), MediaType::default()).unwrap()
}

#[test]
fn the_id_is_the_blake3_hash_of_the_content() {
    for size in [0, 1, 1_024, 4_095, 4_096, 4_097, 8_192, 12_288, 20_481, 100_000, 1 << 20] {
        let content = bytes(size);
        let manifest = manifest_of(&content, 1_000);
        assert_eq!(manifest.file().as_bytes(), blake3::hash(&content).as_bytes(), "{size}");
        assert_eq!(received(&manifest), manifest);
    }
}

#[test]
fn a_known_file_has_the_id_that_b3sum_prints() {
    let manifest = manifest_of(b"abc", 3);
    let printed = "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85";
    assert_eq!(manifest.file().to_string(), printed);
}

#[test]
fn every_block_is_recognised_and_no_other_bytes_are() {
    let content = bytes(40_000);
    let manifest = manifest_of(&content, 40_000);
    for (index, block) in content.chunks(16_384).enumerate() {
        let index = index as u32;
        assert!(manifest.is_block(index, block));
        assert!(!manifest.is_block(index + 1, block));
        let mut damaged = block.to_vec();
        damaged[17] ^= 1;
        assert!(!manifest.is_block(index, &damaged));
        assert!(!manifest.is_block(index, &block[..block.len() - 1]));
    }
    let run = manifest.geometry().run(1, 2).unwrap();
    assert_eq!(manifest.check_run(run, &content[16_384..]), [true, true]);
    assert_eq!(manifest.check_run(run, &content[16_383..39_999]), [false, false]);
}

/// The manifest as somebody gets it who is sent its parts.
fn received(manifest: &Manifest) -> Manifest {
    let mut partial = PartialManifest::begin(manifest.facts().clone(), manifest.part(None).unwrap()).unwrap();
    let missing: Vec<_> = partial.missing().collect();
    for part in missing {
        assert!(partial.complete().is_none());
        assert_eq!(partial.part(Some(part)), None);
        let sent = manifest.part(Some(part)).unwrap();
        assert_eq!(partial.add(sent.clone()), Ok(true));
        assert_eq!(partial.add(sent.clone()), Ok(false));
        assert_eq!(partial.part(Some(part)), Some(&sent));
    }
    partial.complete().unwrap()
}

fn of_blocks(blocks: u32, last: usize) -> Manifest {
    cut(&bytes((blocks as usize - 1) * 4_096 + last), 4_096)
}

fn cut(content: &[u8], block_size: u32) -> Manifest {
    let geometry = Geometry::new(content.len() as u64, BlockSize::try_from(block_size).unwrap()).unwrap();
    let mut hasher = ManifestHasher::new(geometry);
    hasher.update(content);
    hasher.finish("f".parse().unwrap(), MediaType::default()).unwrap()
}

#[test]
fn each_part_of_a_manifest_proves_itself() {
    for blocks in [1, 255, 256, 257, 511, 512, 513, 1_000, 1_793] {
        let manifest = of_blocks(blocks, 1_500);
        assert_eq!(received(&manifest), manifest, "{blocks}");
        let parts = blocks.div_ceil(256);
        assert_eq!(manifest.part(Some(parts)), None);
        assert_eq!(manifest.part(Some(u32::MAX)), None);
        let partial = PartialManifest::begin(manifest.facts().clone(), manifest.part(None).unwrap()).unwrap();
        assert_eq!(partial.missing().collect::<Vec<_>>(), (0..parts - 1).collect::<Vec<_>>());
        for part in 0..parts {
            let right = manifest.part(Some(part)).unwrap();
            let check = |wrong: ManifestPart| partial.clone().add(wrong).unwrap_err();
            for place in [0, right.hashes.len() - 1] {
                let mut hashes = right.hashes.to_vec();
                hashes[place] ^= 1;
                assert_eq!(
                    check(ManifestPart { hashes: hashes.into(), ..right.clone() }),
                    ManifestError::WrongHashes(part)
                );
            }
            for step in 0..right.proof.len() / HASH_LEN {
                let mut proof = right.proof.to_vec();
                proof[step * HASH_LEN] ^= 1;
                assert_eq!(
                    check(ManifestPart { proof: proof.into(), ..right.clone() }),
                    ManifestError::WrongHashes(part)
                );
            }
            for len in
                (0..right.proof.len()).step_by(HASH_LEN).chain([right.proof.len() + HASH_LEN, right.proof.len() + 1])
            {
                let mut proof = right.proof.to_vec();
                proof.resize(len, 0);
                assert_eq!(check(ManifestPart { proof: proof.into(), ..right.clone() }), ManifestError::Form(part));
            }
            let fewer = right.hashes.slice(HASH_LEN..);
            assert_eq!(check(ManifestPart { hashes: fewer, ..right.clone() }), ManifestError::Form(part));
            let cut = right.hashes.slice(1..);
            assert_eq!(check(ManifestPart { hashes: cut, ..right.clone() }), ManifestError::Form(part));
            assert_eq!(check(ManifestPart { part: parts, ..right.clone() }), ManifestError::Form(parts));
        }
    }
}

#[test]
fn a_manifest_begins_with_its_last_part_and_no_other() {
    let manifest = of_blocks(600, 1);
    let begin = |part| PartialManifest::begin(manifest.facts().clone(), manifest.part(part).unwrap()).map(|_| ());
    assert_eq!(begin(None), Ok(()));
    assert_eq!(begin(Some(2)), Ok(()));
    assert_eq!(begin(Some(1)), Err(ManifestError::Form(1)));
}

#[test]
fn the_size_is_proved_to_the_byte() {
    let small = [1, 31, 32, 33, 1_023, 1_024, 1_025, 3_000, 4_096, 4_097, 10_000, 12_288, 12_289, 3_000_000];
    let large = [(70_000, 65_536), (131_072, 65_536), (1_048_577, 1 << 20), (2_500_001, 1 << 20)];
    for (size, block_size) in small.map(|size| (size, 4_096)).into_iter().chain(large) {
        let manifest = cut(&bytes(size), block_size);
        let last = manifest.part(None).unwrap();
        let begin = |size: u64, last: &ManifestPart| {
            let facts = FileFacts { size, ..manifest.facts().clone() };
            PartialManifest::begin(facts, last.clone()).map(|_| ())
        };
        let size = size as u64;
        assert_eq!(begin(size, &last), Ok(()), "{size}");
        for other in (1..8_300).map(|more| size + more).chain((1..size.min(8_300)).map(|less| size - less)) {
            assert!(begin(other, &last).is_err(), "{size} is taken for {other}");
            // Whoever lies about the size cannot make the tail fit either.
            let mut longer = last.tail.to_vec();
            longer.resize((last.tail.len() as u64 + other).saturating_sub(size) as usize, 0);
            let lied = ManifestPart { tail: longer.into(), ..last.clone() };
            assert!(begin(other, &lied).is_err(), "{size} is taken for {other}");
        }
        let mut damaged = last.tail.to_vec();
        damaged[0] ^= 1;
        assert!(begin(size, &ManifestPart { tail: damaged.into(), ..last.clone() }).is_err(), "{size}");
    }
    let empty = cut(&[], 4_096);
    let last = empty.part(None).unwrap();
    let tailed = ManifestPart { tail: Bytes::from_static(b"x"), ..last };
    assert!(PartialManifest::begin(empty.facts().clone(), tailed).is_err());
}

#[test]
fn a_middle_part_brings_no_tail_along() {
    let manifest = of_blocks(600, 1);
    let mut partial = PartialManifest::begin(manifest.facts().clone(), manifest.part(None).unwrap()).unwrap();
    let padded = ManifestPart { tail: Bytes::from_static(b"anything"), ..manifest.part(Some(0)).unwrap() };
    assert_eq!(partial.add(padded), Ok(true));
    assert_eq!(partial.part(Some(0)), manifest.part(Some(0)).as_ref());
}

#[test]
fn a_file_that_changed_while_it_was_read_has_no_manifest() {
    for actual in [9_999, 10_001, 20_000] {
        let mut hasher = ManifestHasher::new(Geometry::new(10_000, BlockSize::try_from(4_096).unwrap()).unwrap());
        hasher.update(&bytes(actual));
        assert_eq!(hasher.total(), actual as u64);
        let error = hasher.finish("f".parse().unwrap(), MediaType::default()).unwrap_err();
        assert_eq!(error, SizeChanged { expected: 10_000, actual: actual as u64 });
    }
}

proptest! {
    #[test]
    fn pieces_of_any_size_give_the_same_manifest(size in 0usize..50_000, piece in 1usize..9_000) {
        let content = bytes(size);
        prop_assert_eq!(manifest_of(&content, piece), manifest_of(&content, 50_000));
    }
}
