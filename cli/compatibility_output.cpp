// SPDX-License-Identifier: GPL-2.0-or-later
#include "cli/compatibility_output.h"

#include "cli/output_text.h"

namespace mdtool::cli {

namespace {

std::string versions_text(const Requirement& r) {
  if (r.kernel.any() && r.mdadm.any()) {
    return "";
  }
  const std::string kernel = r.kernel.any() ? "" : "Linux " + r.kernel.text();
  const std::string mdadm = r.mdadm.any() ? "" : "mdadm " + r.mdadm.text();
  return (kernel.empty() || mdadm.empty() ? kernel + mdadm : kernel + ", " + mdadm) + ": ";
}

Json json_of(const SoftwareVersion& version) {
  return version.any() ? Json(nullptr) : Json(version.text());
}

}  // namespace

std::string compatibility_text(const Compatibility& compatibility) {
  std::string text = labelled("needs", "Linux " + compatibility.oldest_kernel.text() + " and mdadm " +
                                           compatibility.oldest_mdadm.text() + " at least");
  for (const Requirement& r : compatibility.requirements) {
    text += folded(printable(versions_text(r) + r.what, terminal_charset()), 8, "      ");
    if (!r.change.empty()) {
      text += folded(printable("without: " + r.change, terminal_charset()), 10, "        ");
    }
  }
  return text;
}

Json json_of(const Compatibility& compatibility) {
  Json requirements = Json::array();
  for (const Requirement& r : compatibility.requirements) {
    requirements.push_back({{"id", r.id},
                            {"what", r.what},
                            {"kernel", json_of(r.kernel)},
                            {"mdadm", json_of(r.mdadm)},
                            {"change", r.change}});
  }
  return {{"oldest_kernel", compatibility.oldest_kernel.text()},
          {"oldest_mdadm", compatibility.oldest_mdadm.text()},
          {"requirements", requirements}};
}

}  // namespace mdtool::cli
