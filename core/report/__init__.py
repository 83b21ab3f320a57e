"""Reports: one HTML file that tells what was asked, what came, and how to do it again."""
