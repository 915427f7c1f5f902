"""Do two runners of one network give the same?"""
