// Directed graphs over numbered nodes, for cycles in the order of operations.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace polyarch::history {

using Edge = std::pair<uint32_t, uint32_t>;  // from, to

// Outgoing edges by node.
class Graph {
 public:
  Graph(uint32_t nodes, const std::vector<Edge>& edges);
  uint32_t nodes() const { return static_cast<uint32_t>(first_.size() - 1); }
  const uint32_t* begin(uint32_t node) const { return to_.data() + first_[node]; }
  const uint32_t* end(uint32_t node) const { return to_.data() + first_[node + 1]; }

 private:
  std::vector<size_t> first_;
  std::vector<uint32_t> to_;
};

// One cycle of each strongly connected component that has one: a shortest through one of its nodes, in
// the order of the edges.
std::vector<std::vector<uint32_t>> FindCycles(const Graph& graph);

}  // namespace polyarch::history
