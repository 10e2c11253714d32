//! The append-only Merkle tree of RFC 6962, section 2.
//!
//! Own code, because libraries keep the whole tree in memory: a log that is sealed a
//! little at a time needs no more of what came before than [`Frontier`] keeps.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::digest::Digest;

/// Hash of a leaf.
pub fn leaf(entry: &[u8]) -> Digest {
    hash(&[&[0], entry])
}

fn node(left: &Digest, right: &Digest) -> Digest {
    hash(&[&[1], left.as_bytes(), right.as_bytes()])
}

fn hash(parts: &[&[u8]]) -> Digest {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part);
    }
    Digest::from_bytes(hash.finalize().into())
}

/// What has to be known of a tree to append to it: its size, and the roots of its
/// perfect subtrees, largest first. One for each bit of the size.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frontier {
    pub size: u64,
    pub roots: Vec<Digest>,
}

impl Frontier {
    /// Appends a leaf.
    pub fn push(&mut self, leaf: Digest) {
        let mut root = leaf;
        for _ in 0..self.size.trailing_ones() {
            let Some(left) = self.roots.pop() else { break };
            root = node(&left, &root);
        }
        self.roots.push(root);
        self.size += 1;
    }

    /// The root of the tree.
    pub fn root(&self) -> Digest {
        let mut roots = self.roots.iter().rev();
        match roots.next() {
            None => hash(&[]),
            Some(&last) => roots.fold(last, |right, left| node(left, &right)),
        }
    }

    /// Whether there is one root for each bit of the size: anything else is corrupt.
    pub fn is_whole(&self) -> bool {
        self.roots.len() == self.size.count_ones() as usize
    }
}

/// The root over these leaves.
pub fn root(leaves: &[Digest]) -> Digest {
    let mut frontier = Frontier::default();
    leaves.iter().for_each(|&leaf| frontier.push(leaf));
    frontier.root()
}

/// The largest power of two below `size`, which is above 1.
fn split(size: usize) -> usize {
    size.next_power_of_two() / 2
}

/// Proof that the leaf at `index` is in the tree over `leaves`, from the leaf upwards
/// (2.1.1). `None` where there is no such leaf.
pub fn inclusion(leaves: &[Digest], index: usize) -> Option<Vec<Digest>> {
    if index >= leaves.len() {
        return None;
    }
    let (mut proof, mut leaves, mut index) = (Vec::new(), leaves, index);
    while leaves.len() > 1 {
        let (left, right) = leaves.split_at(split(leaves.len()));
        (leaves, index) = match index.checked_sub(left.len()) {
            None => {
                proof.push(root(right));
                (left, index)
            }
            Some(index) => {
                proof.push(root(left));
                (right, index)
            }
        };
    }
    proof.reverse();
    Some(proof)
}

/// Proof that the tree over `leaves` goes on from the one over its first `first`
/// (2.1.2). `None` unless `0 < first <= leaves.len()`.
pub fn consistency(leaves: &[Digest], first: usize) -> Option<Vec<Digest>> {
    if first == 0 || first > leaves.len() {
        return None;
    }
    let (mut proof, mut leaves, mut first, mut known) = (Vec::new(), leaves, first, true);
    while first != leaves.len() {
        let (left, right) = leaves.split_at(split(leaves.len()));
        (leaves, first) = match first.checked_sub(left.len()) {
            None | Some(0) => {
                proof.push(root(right));
                (left, first)
            }
            Some(rest) => {
                proof.push(root(left));
                known = false;
                (right, rest)
            }
        };
    }
    if !known {
        proof.push(root(leaves));
    }
    proof.reverse();
    Some(proof)
}

/// The root that an inclusion proof leads to (RFC 9162, 2.1.3.2).
pub fn root_of_inclusion(leaf: Digest, index: u64, size: u64, proof: &[Digest]) -> Option<Digest> {
    if index >= size {
        return None;
    }
    let (mut place, mut last, mut root) = (index, size - 1, leaf);
    for step in proof {
        if last == 0 {
            return None;
        }
        if place & 1 == 1 || place == last {
            root = node(step, &root);
            while place & 1 == 0 && place != 0 {
                (place, last) = (place >> 1, last >> 1);
            }
        } else {
            root = node(&root, step);
        }
        (place, last) = (place >> 1, last >> 1);
    }
    (last == 0).then_some(root)
}

/// Whether a proof shows that a tree goes on from a smaller one (RFC 9162, 2.1.4.2).
pub fn goes_on(first: (u64, Digest), second: (u64, Digest), proof: &[Digest]) -> bool {
    let ((first, first_root), (second, second_root)) = (first, second);
    if first == second {
        return first_root == second_root && proof.is_empty();
    }
    if first == 0 || first > second {
        return false;
    }
    let mut steps = proof.iter();
    let (mut place, mut last) = (first - 1, second - 1);
    while place & 1 == 1 {
        (place, last) = (place >> 1, last >> 1);
    }
    let start = if first.is_power_of_two() { Some(first_root) } else { steps.next().copied() };
    let Some(start) = start else { return false };
    let (mut old, mut new) = (start, start);
    for step in steps {
        if last == 0 {
            return false;
        }
        if place & 1 == 1 || place == last {
            (old, new) = (node(step, &old), node(step, &new));
            while place & 1 == 0 && place != 0 {
                (place, last) = (place >> 1, last >> 1);
            }
        } else {
            new = node(&new, step);
        }
        (place, last) = (place >> 1, last >> 1);
    }
    last == 0 && old == first_root && new == second_root
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Leaves and roots of the test vectors of Certificate Transparency
    /// (google/certificate-transparency, cpp/merkletree/merkle_tree_test.cc, Apache-2.0).
    const LEAVES: [&[u8]; 8] = [
        b"",
        b"\x00",
        b"\x10",
        b"\x20\x21",
        b"\x30\x31",
        b"\x40\x41\x42\x43",
        b"\x50\x51\x52\x53\x54\x55\x56\x57",
        b"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f",
    ];
    const ROOTS: [&str; 8] = [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ];

    fn leaves(count: usize) -> Vec<Digest> {
        (0..count).map(|number| leaf(format!("entry {number}").as_bytes())).collect()
    }

    #[test]
    fn roots_are_those_of_certificate_transparency() {
        let hashes: Vec<Digest> = LEAVES.iter().map(|entry| leaf(entry)).collect();
        for (size, expected) in (1..).zip(ROOTS) {
            assert_eq!(root(&hashes[..size]).to_string(), expected, "{size}");
        }
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(root(&[]).to_string(), empty);
    }

    #[test]
    fn a_frontier_goes_on_where_it_was() {
        let all = leaves(70);
        for cut in 0..70 {
            let mut frontier = Frontier::default();
            all[..cut].iter().for_each(|&leaf| frontier.push(leaf));
            let stored = serde_json::to_string(&frontier).unwrap();
            let mut frontier: Frontier = serde_json::from_str(&stored).unwrap();
            assert!(frontier.is_whole());
            all[cut..].iter().for_each(|&leaf| frontier.push(leaf));
            assert_eq!(frontier.root(), root(&all), "{cut}");
        }
    }

    #[test]
    fn every_leaf_is_proved_in_every_tree_and_nothing_else_is() {
        for size in 1..=33 {
            let all = leaves(size);
            let whole = root(&all);
            for index in 0..size {
                let proof = inclusion(&all, index).unwrap();
                let shown =
                    |leaf, index, proof: &[Digest]| root_of_inclusion(leaf, index as u64, size as u64, proof);
                assert_eq!(shown(all[index], index, &proof), Some(whole), "{index} of {size}");
                assert_ne!(shown(leaf(b"forged"), index, &proof), Some(whole));
                if size > 1 {
                    assert_ne!(shown(all[index], (index + 1) % size, &proof), Some(whole));
                    assert_ne!(shown(all[index], index, &proof[1..]), Some(whole));
                }
            }
            assert_eq!(inclusion(&all, size), None);
        }
    }

    #[test]
    fn a_tree_goes_on_from_each_of_its_beginnings_and_from_nothing_else() {
        let all = leaves(33);
        for second in 1..=33 {
            for first in 1..=second {
                let proof = consistency(&all[..second], first).unwrap();
                let (old, new) = (root(&all[..first]), root(&all[..second]));
                let (first, second) = (first as u64, second as u64);
                assert!(goes_on((first, old), (second, new), &proof), "{first} to {second}");
                let forged = leaf(b"forged");
                assert!(!goes_on((first, forged), (second, new), &proof), "{first} to {second}");
                assert!(!goes_on((first, old), (second, forged), &proof), "{first} to {second}");
            }
        }
        assert_eq!(consistency(&all, 0), None);
        assert_eq!(consistency(&all, 34), None);
    }
}
