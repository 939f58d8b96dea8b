"""What the black-box tests share: the service under test, the clients that call it, and stock restic.

Never imports anything of the product: everything goes through the command line, HTTP, or files that users see.
"""
