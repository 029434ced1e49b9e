#include "replication/topology.h"

#include <gtest/gtest.h>

namespace polyarch::replication {
namespace {

using Names = std::set<std::string>;

std::string Text(const std::set<Edge>& edges) {
  std::string text;
  for (const Edge& edge : edges) text += (text.empty() ? "" : " ") + EdgeText(edge);
  return text;
}

Topology Make(const std::string& stored) {
  auto topology = Topology::ParseStored(stored);
  EXPECT_TRUE(topology.ok()) << stored;
  return topology.ok() ? *topology : Topology{};
}

std::string Effective(const std::string& stored, const Names& members, const Names& gone,
                      const std::vector<std::string>& precedence = {}) {
  return Text(EffectiveEdges(Make(stored), members, gone, precedence));
}

const Names kFive = {"a", "b", "c", "d", "e"};

TEST(Topology, ConfiguredEdges) {
  EXPECT_EQ(Text(ConfiguredEdges(Make("mesh"), {"a", "b", "c"})), "a-b a-c b-c");
  EXPECT_EQ(Text(ConfiguredEdges(Make("ring b a c"), {"a", "b", "c"})), "a-b a-c b-c");
  EXPECT_EQ(Text(ConfiguredEdges(Make("ring a c b d"), {"a", "b", "c", "d"})), "a-c a-d b-c b-d");
  EXPECT_EQ(Text(ConfiguredEdges(Make("ring c a"), kFive)), "a-b a-c b-d c-e d-e") << "others follow by name";
  EXPECT_EQ(Text(ConfiguredEdges(Make("ring a b"), {"a", "b"})), "a-b");
  EXPECT_EQ(Text(ConfiguredEdges(Make("ring a b"), {"a"})), "");
  EXPECT_EQ(Text(ConfiguredEdges(Make("star c"), {"a", "b", "c"})), "a-c b-c");
  EXPECT_EQ(Text(ConfiguredEdges(Make("links b a b c"), kFive)), "a-b b-c");
  EXPECT_EQ(Text(ConfiguredEdges(Make("links b a b x"), kFive)), "a-b") << "x is no member";
}

TEST(Topology, ARingClosesOverTheDead) {
  EXPECT_EQ(Effective("ring a b c d e", kFive, {"c"}), "a-b a-e b-d d-e");
  EXPECT_EQ(Effective("ring a b c d e", kFive, {"b", "c"}), "a-d a-e d-e");
  EXPECT_EQ(Effective("ring a b c d e", kFive, {"b", "d"}), "a-c a-e c-e");
  EXPECT_EQ(Effective("ring a b c d e", kFive, {"b", "c", "d"}), "a-e");
  EXPECT_EQ(Effective("ring a b c d e", kFive, {"b", "c", "d", "e"}), "");
}

TEST(Topology, AStarTakesTheNextHub) {
  EXPECT_EQ(Effective("star c", kFive, {"c"}), "a-b a-d a-e");
  EXPECT_EQ(Effective("star c", kFive, {"c"}, {"e", "b"}), "a-e b-e d-e");
  EXPECT_EQ(Effective("star c", kFive, {"c", "e"}, {"e", "b"}), "a-b b-d");
  EXPECT_EQ(Effective("star c", kFive, {"a"}), "b-c c-d c-e");
}

TEST(Topology, ATreeIsChainedAroundTheDead) {
  EXPECT_EQ(Effective("links a b b c b d d e", kFive, {"b"}), "a-c c-d d-e");
  EXPECT_EQ(Effective("links a b b c b d d e", kFive, {"b", "d"}), "a-c c-e");
  EXPECT_EQ(Effective("links a b b c c d d e", kFive, {"c"}), "a-b b-d d-e");
}

TEST(Topology, MembersWithoutALinkAreAttached) {
  EXPECT_EQ(Effective("links b c", kFive, {}), "a-b b-c b-d b-e");
  EXPECT_EQ(Effective("links b c", kFive, {}, {"c"}), "a-c b-c c-d c-e");
  EXPECT_EQ(Effective("links b c", kFive, {"b"}), "a-c a-d a-e") << "nobody has a link: the first of all";
}

// Whoever is gone, the rest hangs together.
TEST(Topology, EffectiveGraphsAreConnected) {
  for (const char* stored : {"mesh", "ring c a e b d", "star b", "links a b b c c d d e", "links a b", "links a c c e"}) {
    for (unsigned mask = 0; mask < 32; ++mask) {
      Names gone;
      Names left;
      unsigned bit = 0;
      for (const std::string& name : kFive) ((mask >> bit++ & 1) != 0 ? gone : left).insert(name);
      Components components(left);
      for (const Edge& edge : EffectiveEdges(Make(stored), kFive, gone, {"d"})) {
        EXPECT_TRUE(left.count(edge.first) != 0 && left.count(edge.second) != 0);
        components.Join(edge.first, edge.second);
      }
      for (const std::string& name : left) EXPECT_TRUE(components.Together(*left.begin(), name)) << stored << mask;
    }
  }
}

std::string Error(const std::vector<std::string_view>& words, const Names& members = kFive) {
  auto parsed = Topology::Parse(words, members);
  return parsed.ok() ? "stored: " + parsed->Stored() : parsed.status().message();
}

TEST(Topology, Parse) {
  EXPECT_EQ(Error({"MESH"}), "stored: mesh");
  EXPECT_EQ(Error({"Ring", "c", "a"}), "stored: ring c a");
  EXPECT_EQ(Error({"star", "c"}), "stored: star c");
  EXPECT_EQ(Error({"links", "a-b", "c-b"}), "stored: links a b b c");
  EXPECT_EQ(Error({"links", "eu-1-eu-2"}, {"eu-1", "eu-2"}), "stored: links eu-1 eu-2");
  for (const char* stored : {"mesh", "ring c a", "star c", "links a b b c"}) EXPECT_EQ(Make(stored).Stored(), stored);
  EXPECT_EQ(Make("links a b b c").Shown(), "links a-b b-c");
}

TEST(Topology, ErrorsNameTheRemedy) {
  EXPECT_EQ(Error({"cube"}), "unknown topology 'cube': it is mesh, ring a b c, star hub, or links a-b b-c");
  EXPECT_EQ(Error({"mesh", "a"}), "mesh takes no names: it links every leader with every other one");
  EXPECT_EQ(Error({"ring", "a"}), "a ring names at least two leaders, in their order; those left out follow by name");
  EXPECT_EQ(Error({"ring", "a", "x"}), "no leader 'x'; see LEADER LIST");
  EXPECT_EQ(Error({"ring", "a", "b", "a"}), "leader 'a' is named twice: a ring passes each leader once");
  EXPECT_EQ(Error({"star"}), "a star names one leader, its hub; all others are its leaves");
  EXPECT_EQ(Error({"star", "x"}), "no leader 'x'; see LEADER LIST");
  EXPECT_EQ(Error({"links"}), "links names at least one link, as leader-leader");
  EXPECT_EQ(Error({"links", "a"}), "'a' is no link: write it as leader-leader");
  EXPECT_EQ(Error({"links", "a-a"}), "link 'a-a' joins a leader with itself: name two leaders");
  EXPECT_EQ(Error({"links", "a-x"}), "no leader 'x'; see LEADER LIST");
  EXPECT_EQ(Error({"links", "x-a"}), "no leader 'x'; see LEADER LIST");
  EXPECT_EQ(Error({"links", "a-b", "b-a"}), "link 'b-a' is named twice: name each link once");
  EXPECT_EQ(Error({"links", "a-b", "c-d"}),
            "these links leave 'a' and 'c' unconnected: add a link between their parts");
  EXPECT_EQ(Error({"links", "a-b-c"}, {"a", "b-c", "a-b", "c"}),
            "link 'a-b-c' can be read in two ways, because leaders have '-' in their names: use TOPOLOGY SET ring or "
            "star");
}

TEST(Topology, StoredNonsenseIsRefused) {
  for (const char* text : {"", "cube", "star", "star a b", "links a"}) {
    EXPECT_FALSE(Topology::ParseStored(text).ok()) << text;
  }
}

}  // namespace
}  // namespace polyarch::replication
