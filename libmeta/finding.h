// SPDX-License-Identifier: GPL-2.0-or-later
// A finding: what is wrong (or worth knowing) about metadata that could be read. Not an error.
#pragma once

#include <string>
#include <vector>

namespace mdtool {

enum class Severity {
  note,     // worth knowing, nothing to do
  warning,  // usable, wants attention
  problem,  // wrong
};

// What md does about it. Ordered: the worst of several is the largest.
enum class Effect {
  none,
  stops_writing,   // mdtool refuses to write this member
  refuses_member,  // the kernel would not accept this member into the array
  refuses_array,   // the kernel would not start the array (a bitmap that it rejects)
};

struct Finding {
  Severity severity = Severity::note;
  std::string id;     // stable, kebab-case: "superblock-checksum"
  std::string field;  // the on-disk field's name, or empty
  std::string text;   // a sentence: what is there, what was expected, what follows
  Effect effect = Effect::none;
  std::string next = {};  // what to do about it: a sentence or a command; empty: nothing
};

using Findings = std::vector<Finding>;

inline Effect worst_effect(const Findings& findings) {
  Effect worst = Effect::none;
  for (const Finding& f : findings) {
    worst = f.effect > worst ? f.effect : worst;
  }
  return worst;
}

}  // namespace mdtool
