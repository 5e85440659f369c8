"""What people should review next, what their decisions teach a library, and what that was worth."""
