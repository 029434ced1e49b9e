"""The golden cases, each on three fresh leaders; the stories are in golden.py. Long: in every topology."""

import golden
from cluster import Cluster
from test_topology import wait_links

# Three leaders: a mesh and a ring have the same links, but not the same rules for what fails.
TOPOLOGIES = {
    "mesh": ["eu-us", "asia-eu", "asia-us"],
    "ring eu us asia": ["eu-us", "asia-eu", "asia-us"],
    "star eu": ["eu-us", "asia-eu"],
    "links eu-us us-asia": ["eu-us", "asia-us"],
}


def _on_three_leaders(story, topologies):
    for topology in topologies:
        with Cluster() as cluster:
            if topology != "mesh":
                cluster.eu.call("TOPOLOGY", "SET", *topology.split())
                wait_links(cluster, *TOPOLOGIES[topology])
            try:
                story(golden.Teller(), cluster)
                cluster.wait_converged()
            except AssertionError as error:
                raise AssertionError(f"{topology}: {error}") from error


def _tell(story, long):
    _on_three_leaders(story, TOPOLOGIES if long else ["mesh"])


def test_write_here_read_there(long):
    _tell(golden.write_here_read_there, long)


def test_wiki_title(long):
    _tell(golden.wiki_title, long)


def test_merges(long):
    _tell(golden.merges, long)


def test_handlers(long):
    _tell(golden.handlers, long)


def test_siblings_by_application(long):
    _tell(golden.siblings_by_application, long)


def test_overtaking(long):
    _tell(golden.overtaking, long)


def test_meeting_room(long):
    _tell(golden.meeting_room, long)


def test_shopping_cart(long):
    _tell(golden.shopping_cart, long)


def test_cleared_counter(long):
    _tell(golden.cleared_counter, long)


def test_resurrection(long):
    _tell(golden.resurrection, long)


def test_bad_clock(long):
    _tell(golden.bad_clock, long)


def test_dead_node(long):
    _tell(golden.dead_node, long)


def test_expiry(long):
    _tell(golden.expiry, long)


def _row(teller, cluster):
    for story in golden.STORIES:
        story(teller, cluster)


def test_all_stories_in_a_row(long):
    """As the tour tells them: on one cluster, each beginning with what the others left."""
    _tell(_row, long)


def test_stories_in_sparse_topologies(long):
    """The same where not everybody has a link with everybody: the short form of what each story does when long."""
    _on_three_leaders(_row, [topology for topology in TOPOLOGIES if topology != "mesh"])
