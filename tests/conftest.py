import os
import sys
from pathlib import Path

os.environ["LC_ALL"] = "C.UTF-8"  # what is printed is English, wherever tests run
sys.path.insert(0, str(Path(__file__).parent))  # tests share helpers: launching, serial
