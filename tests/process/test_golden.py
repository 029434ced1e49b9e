"""The golden cases, each on three fresh leaders; the stories are in golden.py."""

import golden
from cluster import Cluster


def _on_three_leaders(story):
    with Cluster() as cluster:
        story(golden.Teller(), cluster)
        cluster.wait_converged()


def test_write_here_read_there(long):
    _on_three_leaders(golden.write_here_read_there)


def test_wiki_title(long):
    _on_three_leaders(golden.wiki_title)


def test_overtaking(long):
    _on_three_leaders(golden.overtaking)


def test_meeting_room(long):
    _on_three_leaders(golden.meeting_room)


def test_shopping_cart(long):
    _on_three_leaders(golden.shopping_cart)


def test_cleared_counter(long):
    _on_three_leaders(golden.cleared_counter)


def test_resurrection(long):
    _on_three_leaders(golden.resurrection)


def test_bad_clock(long):
    _on_three_leaders(golden.bad_clock)


def test_dead_node(long):
    _on_three_leaders(golden.dead_node)


def test_expiry(long):
    _on_three_leaders(golden.expiry)


def test_all_stories_in_a_row(long):
    """As the tour tells them: on one cluster, each beginning with what the others left."""
    def row(teller, cluster):
        for story in golden.STORIES:
            story(teller, cluster)
    _on_three_leaders(row)
