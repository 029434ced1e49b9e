// Two large values of one length, compared in parts, so that neither is ever held whole.
#pragma once

#include <string>
#include <string_view>

#include "base/status.h"
#include "moving/link.h"

namespace polyarch::moving {

// What differs, for people; empty: nothing.
base::Result<std::string> CompareLarge(Link& source,
                                       Link& leader,
                                       std::string_view key,
                                       std::string_view type);

}  // namespace polyarch::moving
