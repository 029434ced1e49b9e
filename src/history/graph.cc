#include "history/graph.h"

#include <algorithm>

namespace polyarch::history {
namespace {

constexpr uint32_t kNone = UINT32_MAX;

// Tarjan 1972, without recursion: histories are long. Components with more than one node.
std::vector<std::vector<uint32_t>> Components(const Graph& graph) {
  const uint32_t n = graph.nodes();
  std::vector<uint32_t> number(n, kNone), low(n, 0), stack;
  std::vector<bool> on_stack(n, false);
  struct Frame {
    uint32_t node;
    const uint32_t* next;
  };
  std::vector<Frame> frames;
  std::vector<std::vector<uint32_t>> found;
  uint32_t numbered = 0;
  const auto enter = [&](uint32_t node) {
    number[node] = low[node] = numbered++;
    stack.push_back(node);
    on_stack[node] = true;
    frames.push_back({node, graph.begin(node)});
  };
  for (uint32_t root = 0; root < n; ++root) {
    if (number[root] != kNone) continue;
    enter(root);
    while (!frames.empty()) {
      Frame& frame = frames.back();
      const uint32_t node = frame.node;
      if (frame.next != graph.end(node)) {
        const uint32_t to = *frame.next++;
        if (number[to] == kNone) {
          enter(to);
        } else if (on_stack[to]) {
          low[node] = std::min(low[node], number[to]);
        }
        continue;
      }
      frames.pop_back();
      if (!frames.empty()) low[frames.back().node] = std::min(low[frames.back().node], low[node]);
      if (low[node] != number[node]) continue;
      std::vector<uint32_t> component;
      do {
        component.push_back(stack.back());
        on_stack[stack.back()] = false;
        stack.pop_back();
      } while (component.back() != node);
      if (component.size() > 1) found.push_back(std::move(component));
    }
  }
  return found;
}

}  // namespace

Graph::Graph(uint32_t nodes, const std::vector<Edge>& edges) : first_(nodes + 1, 0), to_(edges.size()) {
  for (const Edge& edge : edges) ++first_[edge.first + 1];
  for (uint32_t i = 0; i < nodes; ++i) first_[i + 1] += first_[i];
  std::vector<size_t> at(first_.begin(), first_.end() - 1);
  for (const Edge& edge : edges) to_[at[edge.first]++] = edge.second;
}

std::vector<std::vector<uint32_t>> FindCycles(const Graph& graph) {
  std::vector<std::vector<uint32_t>> cycles;
  const auto components = Components(graph);
  if (components.empty()) return cycles;
  std::vector<uint32_t> component_of(graph.nodes(), kNone);
  for (uint32_t i = 0; i < components.size(); ++i) {
    for (uint32_t node : components[i]) component_of[node] = i;
  }
  std::vector<uint32_t> from(graph.nodes(), kNone);
  for (uint32_t i = 0; i < components.size(); ++i) {
    // Breadth first from any node back to it.
    const uint32_t start = components[i].front();
    std::vector<uint32_t> queue{start};
    bool closed = false;
    for (size_t at = 0; at < queue.size() && !closed; ++at) {
      for (const uint32_t* to = graph.begin(queue[at]); to != graph.end(queue[at]) && !closed; ++to) {
        if (component_of[*to] != i || from[*to] != kNone) continue;
        from[*to] = queue[at];
        if (*to == start) closed = true;
        else queue.push_back(*to);
      }
    }
    std::vector<uint32_t> cycle;
    uint32_t node = start;
    do {
      cycle.push_back(node);
      node = from[node];
    } while (node != start);
    std::reverse(cycle.begin(), cycle.end());
    cycles.push_back(std::move(cycle));
  }
  return cycles;
}

}  // namespace polyarch::history
