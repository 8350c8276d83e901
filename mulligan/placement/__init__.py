"""The search for capacity, pure: which providers could meet a request, and why others cannot.

``fleet`` is what it looks at, ``solver`` finds candidates, ``earliest`` finds when. Whoever calls
it fetches the fleet, or the part of it that matters, and takes what it proposes on exact state.
"""
